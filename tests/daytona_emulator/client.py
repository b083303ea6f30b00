"""An emulator for one test: started as a process of its own, and gone at the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx

from .faults import Fault, FaultKind
from .isolation import CHECKOUT
from .journal import Entry
from .settings import Settings

END_SECONDS = 30


class EmulatorFailed(RuntimeError):
    """The emulator's process did not start, or did not end, as it should."""


class IsolationRefused(EmulatorFailed):
    """This machine doesn't allow the isolation that was asked for; the message says why."""


@dataclass(frozen=True)
class Emulator:
    """A running emulator.

    api_url, api_key: what the SDK needs
    isolation: how sandboxes are confined; limits: what they can't do because of that
    pid: its process, for tests that kill it
    """

    api_url: str
    api_key: str
    isolation: str
    limits: list[str]
    pid: int
    _operator: httpx.AsyncClient

    async def journal(self) -> list[Entry]:
        """Every request so far, with its answer."""
        return [Entry.model_validate(entry) for entry in await self._get("journal")]

    async def reset(self) -> None:
        """Back to the beginning: no sandbox, no snapshot but the general one, no fault, an empty journal."""
        (await self._operator.post("reset")).raise_for_status()

    async def fault(self, kind: FaultKind, **options: Any) -> None:
        """Arm a fault; the options are the fields of `Fault`."""
        fault = Fault(kind=kind, **options)
        body = fault.model_dump(exclude_unset=True)
        (await self._operator.post("faults", json=body)).raise_for_status()

    async def clear_faults(self) -> None:
        (await self._operator.delete("faults")).raise_for_status()

    async def sandboxes(self) -> list[dict[str, Any]]:
        """Those that exist, in whatever state, as the API shows them."""
        return await self._get("sandboxes")

    async def destroyed(self) -> list[dict[str, Any]]:
        """Those that existed."""
        return await self._get("destroyed")

    async def _get(self, path: str) -> list[dict[str, Any]]:
        answer = (await self._operator.get(path)).raise_for_status()
        found: list[dict[str, Any]] = answer.json()
        return found


@contextlib.asynccontextmanager
async def emulator(**settings: Any) -> AsyncIterator[Emulator]:
    """An emulator with these settings (see `Settings`), in a process that ends with the block, or with this process."""
    wanted = Settings(**settings)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in _scalars(wanted)]
    regions = [word for region in wanted.regions for word in ("--regions", region)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.daytona_emulator", "--until-stdin-closes", *options, *regions),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=CHECKOUT,
        limit=1 << 20,
        # Ctrl-C is for those who use it: they may still want to clean up.
        start_new_session=True,
    )
    try:
        assert process.stdout
        line = await process.stdout.readline()
        if not line:
            raise EmulatorFailed("the emulator ended before it was ready; it says why on standard error")
        announced = json.loads(line)
        if "isolation_refused" in announced:
            raise IsolationRefused(announced["isolation_refused"])
        headers = {"Authorization": f"Bearer {wanted.api_key}"}
        base = announced["api_url"].removesuffix("/api") + "/emulator/"
        async with httpx.AsyncClient(base_url=base, headers=headers, trust_env=False) as operator:
            yield Emulator(api_key=wanted.api_key, pid=process.pid, _operator=operator, **announced)
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
    try:
        await asyncio.wait_for(process.communicate(), END_SECONDS)
    except TimeoutError:
        process.kill()
        await process.communicate()
        raise EmulatorFailed(f"the emulator did not end within {END_SECONDS} s of SIGTERM and was killed") from None


def _scalars(settings: Settings) -> list[tuple[str, Any]]:
    return [(name, value) for name, value in settings.model_dump(exclude_unset=True).items() if name != "regions"]
