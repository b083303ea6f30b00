"""All sandboxes, and Daytona's rules about what may be done to them when."""

from __future__ import annotations

import asyncio
import time

from .errors import ApiError
from .images import Dockerfile
from .lifecycle import Lifecycle
from .models import CreateSandbox
from .sandbox import Resources, Sandbox
from .settings import Settings
from .snapshots import Snapshots
from .tasks import Tasks

SNAPSHOT_CREATE_SECONDS = 30
"""How long Daytona holds a create request from a snapshot, waiting for the sandbox to start."""

FAILED = ("error", "build_failed")
IN_TRANSITION = "Sandbox state change in progress"


class Sandboxes:
    """The sandboxes of the organization."""

    def __init__(self, settings: Settings, lifecycle: Lifecycle, snapshots: Snapshots, toolbox_url: str) -> None:
        self._settings = settings
        self._lifecycle = lifecycle
        self._snapshots = snapshots
        self._toolbox_url = toolbox_url
        self._tasks = Tasks()
        self._by_id: dict[str, Sandbox] = {}
        self.destroyed: list[Sandbox] = []

    def all(self) -> list[Sandbox]:
        """Newest first."""
        return list(self._by_id.values())[::-1]

    def find(self, id_or_name: str) -> Sandbox:
        """ApiError 404 where there is none."""
        by_name = (each for each in self._by_id.values() if each.name == id_or_name)
        sandbox = self._by_id.get(id_or_name) or next(by_name, None)
        if sandbox is None:
            raise ApiError(404, f"Sandbox with ID or name {id_or_name} not found")
        return sandbox

    async def create(self, request: CreateSandbox) -> Sandbox:
        """From a build definition: returns at once. From a snapshot: once it started or failed, or after 30 s."""
        sandbox = self._admit(request)
        self._by_id[sandbox.id] = sandbox
        creation = self._tasks.start(self._lifecycle.create(sandbox))
        if sandbox.dockerfile is None:
            await asyncio.wait({creation}, timeout=SNAPSHOT_CREATE_SECONDS)
            if sandbox.state in FAILED:
                raise ApiError(400, f"Sandbox failed to start: {sandbox.error}")
        return sandbox

    def start(self, sandbox: Sandbox) -> None:
        if sandbox.state == "started":
            return
        self._refuse_while_moving(sandbox)
        if sandbox.state != "stopped":
            raise ApiError(400, "Sandbox is not in valid state")
        sandbox.desired, sandbox.moving = "started", True
        self._tasks.start(self._lifecycle.start(sandbox))

    def stop(self, sandbox: Sandbox) -> None:
        """Of an ephemeral sandbox this is the end."""
        if sandbox.state in FAILED:
            raise ApiError(400, "Sandbox is in an errored state")
        self._refuse_while_moving(sandbox)
        if sandbox.state != "started":
            raise ApiError(400, "Sandbox is not in a stoppable state")
        if sandbox.ephemeral:
            self.delete(sandbox)
            return
        sandbox.desired, sandbox.moving = "stopped", True
        self._tasks.start(self._lifecycle.stop(sandbox))

    def delete(self, sandbox: Sandbox) -> None:
        """Frees the name at once; the rest follows."""
        self._refuse_while_moving(sandbox)
        name, sandbox.name = sandbox.name, f"DESTROYED_{sandbox.name}_{time.time_ns() // 1_000_000}"
        sandbox.desired, sandbox.moving = "destroyed", True
        self._tasks.start(self._destroy(sandbox, name))

    async def act_on_intervals(self) -> None:
        """Auto-stop, auto-delete and time-to-live, for ever."""
        minute = self._settings.minute_seconds
        while True:
            await asyncio.sleep(min(1, minute / 10))
            for sandbox in self.all():
                if not sandbox.moving:
                    self._act_on_intervals_of(sandbox, minute)

    async def clear(self) -> None:
        """Nothing of any sandbox is left, here or on the machine."""
        await self._tasks.cancel()
        for sandbox in self.all():
            await self._lifecycle.discard(sandbox)
        self._by_id.clear()
        self.destroyed.clear()

    def _act_on_intervals_of(self, sandbox: Sandbox, minute: float) -> None:
        intervals, idle = sandbox.intervals, sandbox.idle_seconds() / minute
        outlived = intervals.ttl and sandbox.age_seconds() / minute > intervals.ttl
        if outlived or (sandbox.state == "stopped" and 0 < intervals.auto_delete < idle):
            self.delete(sandbox)
        elif sandbox.state == "started" and 0 < intervals.auto_stop < idle:
            self.stop(sandbox)

    async def _destroy(self, sandbox: Sandbox, name: str) -> None:
        await self._lifecycle.destroy(sandbox, name)
        del self._by_id[sandbox.id]
        self.destroyed.append(sandbox)

    def _refuse_while_moving(self, sandbox: Sandbox) -> None:
        if sandbox.moving:
            raise ApiError(409, IN_TRANSITION)

    def _admit(self, request: CreateSandbox) -> Sandbox:
        """The new sandbox, if the request is allowed."""
        if request.name and any(each.name == request.name for each in self._by_id.values()):
            raise ApiError(409, f"Sandbox with name {request.name} already exists")
        target = request.target or self._settings.regions[0]
        if target not in self._settings.regions:
            raise ApiError(404, f"Region {target} not found")
        sandbox = self._built(request, target) if request.build_info else self._from_snapshot(request, target)
        in_use = sum(each.resources.cpu for each in self._by_id.values() if each.desired == "started")
        if in_use + sandbox.resources.cpu > self._settings.total_cpu:
            raise ApiError(400, f"Total CPU limit exceeded. Maximum allowed: {self._settings.total_cpu}.")
        return sandbox

    def _built(self, request: CreateSandbox, target: str) -> Sandbox:
        assert request.build_info
        if request.snapshot:
            raise ApiError(400, "Cannot specify a snapshot when using a build info entry")
        if request.build_info.context_hashes:
            raise ApiError(400, "the emulator has no object storage: build contexts (COPY) are not emulated")
        resources = Resources.of(request.cpu, request.gpu, request.memory, request.disk)
        sandbox = Sandbox(request, resources, target, self._toolbox_url)
        sandbox.dockerfile = Dockerfile.parse(request.build_info.dockerfile_content)
        sandbox.state = "pending_build"
        return sandbox

    def _from_snapshot(self, request: CreateSandbox, target: str) -> Sandbox:
        if request.asks_for_resources():
            raise ApiError(400, "Cannot specify Sandbox resources when using a snapshot")
        snapshot = self._snapshots.usable(request.snapshot)
        sandbox = Sandbox(request, snapshot.resources, target, self._toolbox_url)
        sandbox.snapshot, sandbox.image = snapshot.name, snapshot.image
        return sandbox
