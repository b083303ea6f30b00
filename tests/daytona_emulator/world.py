"""Everything that one emulator holds, put together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from .events import Events
from .faults import Faults
from .images import ImageBuilder
from .isolation import Isolation
from .journal import Journal
from .lifecycle import Lifecycle
from .previews import Previews
from .sandbox import Sandbox
from .sandboxes import Sandboxes
from .settings import Settings
from .snapshots import Snapshot, Snapshots


@dataclass(frozen=True)
class World:
    """base_url: the emulator's own address, without a path."""

    settings: Settings
    base_url: str
    isolation: Isolation
    faults: Faults
    journal: Journal
    events: Events
    previews: Previews
    snapshots: Snapshots
    sandboxes: Sandboxes

    @classmethod
    def create(cls, settings: Settings, base_url: str, isolation: Isolation, directory: Path) -> World:
        faults, journal, events = Faults(), Journal(), Events(settings.api_key)
        previews = Previews(settings, faults, journal)
        builder = ImageBuilder(directory / "layers", isolation, settings.build_seconds)
        snapshots = Snapshots(settings, builder, faults)
        lifecycle = Lifecycle(settings, isolation, directory / "sandboxes", builder, faults, events, previews)
        sandboxes = Sandboxes(settings, lifecycle, snapshots, f"{base_url}/toolbox")
        return cls(settings, base_url, isolation, faults, journal, events, previews, snapshots, sandboxes)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Intervals are acted upon inside; at the end nothing is left of any sandbox."""
        intervals = asyncio.create_task(self.sandboxes.act_on_intervals())
        try:
            yield
        finally:
            intervals.cancel()
            await self.reset()

    async def reset(self) -> None:
        """Nothing is left of any sandbox, snapshot, fault or request; built images stay cached."""
        self.faults.clear()
        await self.snapshots.clear()
        await self.sandboxes.clear()
        self.journal.entries.clear()


def _world(connection: HTTPConnection) -> World:
    world: World = connection.app.state.world
    return world


WorldHere = Annotated[World, Depends(_world)]


def _sandbox(world: WorldHere, id_or_name: str) -> Sandbox:
    return world.sandboxes.find(id_or_name)


def _snapshot(world: WorldHere, id_or_name: str) -> Snapshot:
    return world.snapshots.find(id_or_name)


SandboxHere = Annotated[Sandbox, Depends(_sandbox)]
SnapshotHere = Annotated[Snapshot, Depends(_snapshot)]
