"""How a sandbox goes from one state to the next, and the faults that strike on the way."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from .daemons import BootFailed, Daemon
from .errors import now
from .events import Events
from .faults import Faults
from .hollow import HollowDaemon
from .images import BuildFailed, ImageBuilder
from .isolation import Cell, Isolation
from .models import SandboxState
from .previews import Previews
from .sandbox import Sandbox
from .settings import Settings
from .tasks import lasting


class Lifecycle:
    """Carries one transition out from its first state to its last; the caller has checked that it is allowed."""

    def __init__(
        self,
        settings: Settings,
        isolation: Isolation,
        directory: Path,
        builder: ImageBuilder,
        faults: Faults,
        events: Events,
        previews: Previews,
    ) -> None:
        self._settings = settings
        self._isolation = isolation
        self._directory = directory
        self._builder = builder
        self._faults = faults
        self._events = events
        self._previews = previews

    async def create(self, sandbox: Sandbox) -> None:
        """Build the image if there is one to build, then boot. Ends in started, error or build_failed."""
        await self._events.created(sandbox.view().to_json())
        try:
            if sandbox.dockerfile:
                await self._build(sandbox)
            await self._boot(sandbox, "creating")
        except BuildFailed as error:
            await self._fail(sandbox, "build_failed", error)
        except (BootFailed, OSError) as error:
            await self._fail(sandbox, "error", error)
        finally:
            sandbox.build_log.close()

    async def start(self, sandbox: Sandbox) -> None:
        """Boot a stopped sandbox; its files are as they were."""
        try:
            await self._boot(sandbox, "starting")
        except (BootFailed, OSError) as error:
            await self._fail(sandbox, "error", error)

    async def stop(self, sandbox: Sandbox) -> None:
        """End all processes; the preview token is void from then on."""
        await self._set_state(sandbox, "stopping")
        await self._end(sandbox)
        sandbox.renew_token()
        sandbox.touch()
        sandbox.moving = False
        await self._set_state(sandbox, "stopped")

    async def destroy(self, sandbox: Sandbox, name: str) -> None:
        """End all processes and delete the files, after the time that it takes or for which it is stuck."""
        await self._set_state(sandbox, "destroying")
        await asyncio.sleep(self._settings.delete_seconds)
        stuck = self._faults.take("stuck_deleting", name)
        if stuck and stuck.seconds:
            await asyncio.sleep(stuck.seconds)
        elif stuck:
            await stuck.wait_until_cleared()
        await self.discard(sandbox)
        sandbox.moving = False
        await self._set_state(sandbox, "destroyed")

    async def discard(self, sandbox: Sandbox) -> None:
        """Leave nothing of the sandbox on this machine."""
        await self._end(sandbox)
        await self._previews.close(sandbox)
        if sandbox.cell:
            await asyncio.to_thread(shutil.rmtree, sandbox.cell.directory, ignore_errors=True)

    async def _build(self, sandbox: Sandbox) -> None:
        assert sandbox.dockerfile
        await self._set_state(sandbox, "building_snapshot")
        await asyncio.sleep(self._faults.delay("slow_build", sandbox.name))
        fault = self._faults.take("build_failed", sandbox.name)
        if fault:
            sandbox.build_log.write(fault.message or "the build was made to fail")
            raise BuildFailed(fault.message or "the build was made to fail")
        sandbox.image = await self._builder.build(sandbox.dockerfile, sandbox.build_log)

    async def _boot(self, sandbox: Sandbox, through: SandboxState) -> None:
        await self._set_state(sandbox, through)
        async with lasting(self._settings.boot_seconds + self._faults.delay("slow_boot", sandbox.name)):
            fault = self._faults.take("failed_boot", sandbox.name)
            if fault:
                raise BootFailed(fault.message or "the runner was made to fail")
            await self._start_daemon(sandbox)
        sandbox.touch()
        sandbox.moving = False
        await self._set_state(sandbox, "started")

    async def _start_daemon(self, sandbox: Sandbox) -> None:
        if self._isolation.name == "none":
            return
        if self._isolation.name == "hollow":
            sandbox.daemon = HollowDaemon()
            return
        sandbox.cell = sandbox.cell or Cell(self._directory / sandbox.id, sandbox.image.layers)
        sandbox.daemon = await Daemon.start(
            self._isolation, sandbox.cell, sandbox.environment, sandbox.image.workdir, sandbox.online
        )

    async def _end(self, sandbox: Sandbox) -> None:
        if sandbox.daemon:
            daemon, sandbox.daemon = sandbox.daemon, None
            await daemon.stop()

    async def _fail(self, sandbox: Sandbox, state: SandboxState, error: Exception) -> None:
        sandbox.error = str(error)
        sandbox.moving = False
        await self._set_state(sandbox, state)

    async def _set_state(self, sandbox: Sandbox, state: SandboxState) -> None:
        old, sandbox.state, sandbox.updated_at = sandbox.state, state, now()
        await self._events.state_changed(sandbox.view().to_json(), old, state)
