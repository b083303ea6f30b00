"""The emulator as the conformance suite's harness, and what else the tests of the Daytona backend share."""

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from daytona import AsyncDaytona, CreateSandboxFromSnapshotParams, DaytonaConfig, DaytonaError
from pydantic import SecretStr

from core.settings import Settings
from sandboxes.base import Backend, Sandbox, SandboxSpec
from sandboxes.conformance import BackendHarness
from sandboxes.daytona import DaytonaBackend
from sandboxes.daytona.labels import labels_for
from sandboxes.daytona.patience import Patience
from sandboxes.daytona.remote import Place
from tests.daytona_emulator import Emulator
from tests.daytona_emulator.journal import Entry

STATE = Place("/app").state
KILL = f"""
pid=$(cat {STATE}/pid) && kill -9 $pid
while [ ! -e {STATE}/exit_code ]; do sleep 0.05; done
"""
EXPOSED = """
import os, pathlib
for folder, _, files in os.walk("/app"):
    for file in files:
        print(pathlib.Path(folder, file).read_bytes().decode(errors="replace"))
for process in pathlib.Path("/proc").glob("[0-9]*"):
    for file in ("cmdline", "environ"):
        try:
            print((process / file).read_bytes().decode(errors="replace"))
        except OSError:
            pass
"""


def settings_for(emu: Emulator, **values: Any) -> Settings:
    return Settings(daytona_api_key=SecretStr(emu.api_key), daytona_api_url=emu.api_url, daytona_target=None, **values)


def skip_without_commands(emu: Emulator) -> None:
    if emu.isolation == "none":
        pytest.skip(f"sandboxes can't run commands on this machine: {'; '.join(emu.limits)}")


@asynccontextmanager
async def in_this_loop(emu: Emulator) -> AsyncIterator[Emulator]:
    """The same emulator, for a test whose event loop is not the one that it was started in."""
    operator = emu._operator
    async with httpx.AsyncClient(base_url=operator.base_url, headers=operator.headers, trust_env=False) as client:
        yield replace(emu, _operator=client)


@asynccontextmanager
async def sdk_for(emu: Emulator) -> AsyncIterator[AsyncDaytona]:
    async with AsyncDaytona(DaytonaConfig(api_key=emu.api_key, api_url=emu.api_url, target="us")) as sdk:
        yield sdk


class DaytonaHarness(BackendHarness):
    """Opens backends on an emulator, and closes them in the end."""

    def __init__(self, emu: Emulator, stack: AsyncExitStack, patience: Patience | None = None) -> None:
        self.emu = emu
        self._stack = stack
        self._patience = patience

    def open(self) -> Backend:
        return self.open_daytona()

    def open_daytona(self) -> DaytonaBackend:
        backend = DaytonaBackend(settings_for(self.emu), self._patience)
        self._stack.push_async_callback(backend.aclose)
        return backend

    async def kill_task_app(self, sandbox: Sandbox) -> None:
        await self.inside(sandbox, KILL)

    async def half_make(self, spec: SandboxSpec) -> None:
        await self.emu.fault("failed_boot", match=spec.name)
        async with sdk_for(self.emu) as sdk:
            try:
                await sdk.create(CreateSandboxFromSnapshotParams(name=spec.name, labels=labels_for(spec)))
            except DaytonaError:
                return
        raise AssertionError("the boot should have failed")

    async def leftovers(self, spec: SandboxSpec) -> list[str]:
        return [
            json.dumps(sandbox)
            for sandbox in await self.emu.sandboxes()
            if spec.name in sandbox["name"]
            or (sandbox["labels"].get("flow_run_id"), sandbox["labels"].get("lane")) == (spec.run_id, str(spec.lane))
        ]

    async def exposed(self, sandbox: Sandbox) -> str:
        return await self.inside(sandbox, f"python3 - <<'END'\n{EXPOSED}\nEND")

    async def inside(self, sandbox: Sandbox, command: str) -> str:
        """What a command says that runs there as whom the sandbox belongs to."""
        async with sdk_for(self.emu) as sdk:
            done = await (await sdk.get(sandbox.id)).process.exec(command)
        assert done.exit_code == 0, done.result
        return str(done.result)


def is_poll(entry: Entry) -> bool:
    """What only looks how things are, and is asked as often as it takes."""
    command = entry.request.get("command", "") if isinstance(entry.request, dict) else ""
    asks_for_state = entry.method == "GET" and not entry.path.endswith("preview-url")
    return asks_for_state or "inside.py status" in command or "inside.py watch" in command


def new_spec(**values: Any) -> SandboxSpec:
    run = secrets.token_hex(4)
    return SandboxSpec(**{"name": f"eb-{run}-1", "run_id": f"run-{run}", "lane": 0, **values})
