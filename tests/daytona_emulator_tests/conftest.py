"""One emulator for the session, reset for each test, and the real SDK on it. These tests share one event loop."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from daytona import AsyncDaytona, DaytonaConfig
from tenacity import AsyncRetrying, retry_if_result, stop_after_delay, wait_fixed

from tests.daytona_emulator import Emulator, emulator
from tests.daytona_emulator.client import IsolationRefused
from tests.daytona_emulator.isolation import IsolationName
from tests.daytona_emulator.journal import Entry
from tests.daytona_emulator_tests import scenario


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(__file__.rpartition("/")[0]) and pytest_asyncio.is_async_test(item):
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@contextlib.asynccontextmanager
async def sdk_for(emu: Emulator, api_key: str | None = None) -> AsyncIterator[AsyncDaytona]:
    config = DaytonaConfig(api_key=api_key or emu.api_key, api_url=emu.api_url, target="us")
    async with AsyncDaytona(config) as sdk:
        yield sdk


@contextlib.asynccontextmanager
async def emulator_or_skip(isolation: IsolationName = "auto", **settings: Any) -> AsyncIterator[Emulator]:
    """An emulator whose sandboxes run commands; where there can't be one, the test is skipped with the reason."""
    try:
        async with emulator(isolation=isolation, **settings) as running:
            if running.isolation == "none":
                pytest.skip(f"sandboxes can't run commands on this machine: {'; '.join(running.limits)}")
            yield running
    except IsolationRefused as error:
        pytest.skip(str(error))


async def eventually(condition: Callable[[Emulator], Awaitable[bool]], emu: Emulator) -> None:
    """Return as soon as the condition holds; fail where it still does not after half a minute."""
    attempts = AsyncRetrying(
        stop=stop_after_delay(30), wait=wait_fixed(0.03), retry=retry_if_result(lambda holds: not holds)
    )
    await attempts(condition, emu)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_emulator() -> AsyncIterator[Emulator]:
    async with emulator_or_skip() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def emu(shared_emulator: Emulator) -> AsyncIterator[Emulator]:
    yield shared_emulator
    await shared_emulator.reset()


@pytest_asyncio.fixture(loop_scope="session")
async def sdk(emu: Emulator) -> AsyncIterator[AsyncDaytona]:
    async with sdk_for(emu) as client:
        yield client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def journal_of_a_life() -> list[Entry]:
    """The journal of a scenario that uses every operation of the wire map."""
    async with emulator_or_skip() as emu, sdk_for(emu) as sdk:
        await scenario.live(sdk)
        return await emu.journal()
