"""The local backend passes the suite that every backend passes."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from core.settings import Settings
from sandboxes import open_backend
from sandboxes.base import Backend, Sandbox, SandboxSpec
from sandboxes.conformance import BackendConformance, BackendHarness


class LocalHarness(BackendHarness):
    def __init__(self, cache: Path) -> None:
        self._settings = Settings(cache_dir=cache)

    def open(self) -> Backend:
        return open_backend("local", self._settings)

    async def kill_task_app(self, sandbox: Sandbox) -> None:
        record = json.loads((self._directory(sandbox) / "server.json").read_text())
        process = psutil.Process(record["process"]["pid"])
        process.kill()
        await asyncio.to_thread(psutil.wait_procs, [process])

    async def half_make(self, spec: SandboxSpec) -> None:
        self._directory(spec).mkdir(parents=True)
        (self._directory(spec) / "owner.draft").write_text('{"spec": ')

    async def leftovers(self, spec: SandboxSpec) -> list[str]:
        paths = self._settings.sandboxes_dir.glob(f"{spec.name}*")
        return [*map(str, paths), *(str(process) for process in self._processes(spec))]

    async def exposed(self, sandbox: Sandbox) -> str:
        files = [path for path in self._directory(sandbox).rglob("*") if path.is_file()]
        return "\n".join(
            [path.read_text(errors="replace") for path in files]
            + [f"{process.cmdline()} {process.environ()}" for process in self._processes(sandbox)]
        )

    def _directory(self, sandbox: SandboxSpec | Sandbox) -> Path:
        return self._settings.sandboxes_dir / sandbox.name

    def _processes(self, sandbox: SandboxSpec | Sandbox) -> Iterator[psutil.Process]:
        """All that mention the sandbox's directory in any way."""
        for process in psutil.process_iter():
            try:
                told = f"{process.cmdline()} {process.cwd()} {process.environ()}"
                ended = process.status() == psutil.STATUS_ZOMBIE
            except psutil.Error:
                continue
            if str(self._directory(sandbox)) in told and not ended:
                yield process


class TestLocalBackend(BackendConformance):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> LocalHarness:
        return LocalHarness(tmp_path / "cache")
