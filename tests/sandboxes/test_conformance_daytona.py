"""The Daytona backend passes the suite that every backend passes, on the emulator with the real SDK."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
import pytest_asyncio

from sandboxes.conformance import BackendConformance
from tests.daytona_emulator import Emulator, emulator
from tests.sandboxes.daytona_harness import DaytonaHarness, in_this_loop, skip_without_commands


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_emu() -> AsyncIterator[Emulator]:
    """One for all tests: it starts empty, and each test leaves it so."""
    async with emulator(total_cpu=64) as running:
        skip_without_commands(running)
        yield running
        assert await running.sandboxes() == []


class TestDaytonaBackend(BackendConformance):
    @pytest.fixture
    async def harness(self, shared_emu: Emulator) -> AsyncIterator[DaytonaHarness]:
        async with AsyncExitStack() as stack, in_this_loop(shared_emu) as emu:
            yield DaytonaHarness(emu, stack)
