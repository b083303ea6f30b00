"""Snapshots: images that were built once, by name, from which sandboxes start at once."""

from __future__ import annotations

import asyncio
import uuid
from typing import Literal

from .daemons import BootFailed
from .errors import ApiError, now
from .faults import Faults
from .images import BuildFailed, BuildLog, Dockerfile, Image, ImageBuilder
from .models import CreateSnapshot, SnapshotState, SnapshotView
from .sandbox import ORGANIZATION, Resources, build_info
from .settings import Settings
from .tasks import Tasks

DEFAULT_SNAPSHOT = "daytona-small"


class Snapshot:
    """One snapshot; `general` ones are Daytona's own and can't be deleted."""

    def __init__(self, request: CreateSnapshot, region: str, general: bool = False) -> None:
        self.id = str(uuid.uuid4())
        self.name = request.name
        self.request = request
        self.region = region
        self.general = general
        self.resources = Resources.of(request.cpu, request.gpu, request.memory, request.disk)
        text = request.build_info.dockerfile_content if request.build_info else f"FROM {request.image_name}"
        self.dockerfile = Dockerfile.parse(text)
        self.image = Image()
        self.state: SnapshotState = "building" if request.build_info else "pulling"
        self.error: str | None = None
        self.build_log = BuildLog()
        self.created_at = self.updated_at = now()
        self.last_used_at: str | None = None

    def set_state(self, state: SnapshotState, error: str | None = None) -> None:
        self.state, self.error, self.updated_at = state, error, now()

    def view(self) -> SnapshotView:
        view = SnapshotView(
            id=self.id,
            organization_id=ORGANIZATION,
            general=self.general,
            name=self.name,
            state=self.state,
            size=0.5 if self.state == "active" else None,
            entrypoint=self.request.entrypoint or self.dockerfile.entrypoint,
            cpu=self.resources.cpu,
            gpu=self.resources.gpu,
            mem=self.resources.memory,
            disk=self.resources.disk,
            error_reason=self.error,
            created_at=self.created_at,
            updated_at=self.updated_at,
            last_used_at=self.last_used_at,
            region_ids=[self.region],
            source_sandbox_id=None,
            sandbox_class="container",
        )
        if self.request.image_name:
            view.image_name = self.request.image_name
        if self.request.build_info:
            view.build_info = build_info(self.dockerfile, self.request.build_info.dockerfile_content, self.created_at)
        return view


class Snapshots:
    """The snapshots that the organization sees: its own, and the general default."""

    def __init__(self, settings: Settings, builder: ImageBuilder, faults: Faults) -> None:
        self._settings = settings
        self._builder = builder
        self._faults = faults
        self._tasks = Tasks()
        default = CreateSnapshot(name=DEFAULT_SNAPSHOT, image_name=f"daytonaio/{DEFAULT_SNAPSHOT}")
        general = Snapshot(default, settings.regions[0], general=True)
        general.set_state("active")
        self._by_id = {general.id: general}

    def all(self) -> list[Snapshot]:
        return list(self._by_id.values())

    def find(self, id_or_name: str) -> Snapshot:
        """ApiError 404 where there is none."""
        by_name = (each for each in self._by_id.values() if each.name == id_or_name)
        snapshot = self._by_id.get(id_or_name) or next(by_name, None)
        if snapshot is None:
            raise ApiError(404, f"Snapshot with ID or name {id_or_name} not found")
        return snapshot

    def usable(self, id_or_name: str | None) -> Snapshot:
        """The snapshot to start a sandbox from; ApiError 400 unless it is active."""
        snapshot = self.find(id_or_name or DEFAULT_SNAPSHOT)
        if snapshot.state != "active":
            raise ApiError(400, f"Snapshot {snapshot.name} is {snapshot.state}")
        snapshot.last_used_at = now()
        return snapshot

    def create(self, request: CreateSnapshot) -> Snapshot:
        """Starts the build and returns at once."""
        if any(each.name == request.name for each in self._by_id.values()):
            raise ApiError(409, f'Snapshot with name "{request.name}" already exists for this organization')
        if not request.build_info:
            _refuse_untagged(request.image_name or "")
        elif request.build_info.context_hashes:
            raise ApiError(400, "the emulator has no object storage: build contexts (COPY) are not emulated")
        region = request.region_id or self._settings.regions[0]
        if region not in self._settings.regions:
            raise ApiError(404, f"Region {region} not found")
        snapshot = Snapshot(request, region)
        self._by_id[snapshot.id] = snapshot
        self._tasks.start(self._build(snapshot))
        return snapshot

    def delete(self, snapshot: Snapshot) -> None:
        """Asynchronous: the name is taken until it is done."""
        if snapshot.general:
            raise ApiError(403, "You cannot delete a general snapshot")
        if snapshot.state in ("pulling", "building", "removing"):
            raise ApiError(409, f"Snapshot {snapshot.name} is {snapshot.state}")
        snapshot.set_state("removing")
        self._tasks.start(self._remove(snapshot))

    def set_active(self, snapshot: Snapshot, state: Literal["active", "inactive"]) -> None:
        if snapshot.state not in ("active", "inactive"):
            raise ApiError(400, f"Snapshot {snapshot.name} is {snapshot.state}")
        snapshot.set_state(state)

    async def clear(self) -> None:
        """Only the general snapshot is left."""
        await self._tasks.cancel()
        self._by_id = {each.id: each for each in self.all() if each.general}

    async def _build(self, snapshot: Snapshot) -> None:
        try:
            await asyncio.sleep(self._faults.delay("slow_build", snapshot.name))
            self._strike(snapshot)
            snapshot.image = await self._builder.build(snapshot.dockerfile, snapshot.build_log)
            snapshot.set_state("active")
        except BuildFailed as error:
            snapshot.set_state("build_failed", str(error))
        except (BootFailed, OSError) as error:
            snapshot.set_state("error", str(error))
        finally:
            snapshot.build_log.close()

    def _strike(self, snapshot: Snapshot) -> None:
        failed = self._faults.take("build_failed", snapshot.name)
        if failed:
            raise BuildFailed(failed.message or "the build was made to fail")
        broken = self._faults.take("snapshot_error", snapshot.name)
        if broken:
            raise BootFailed(broken.message or "the snapshot was made to fail")

    async def _remove(self, snapshot: Snapshot) -> None:
        await asyncio.sleep(self._settings.delete_seconds)
        stuck = self._faults.take("stuck_deleting", snapshot.name)
        if stuck and stuck.seconds:
            await asyncio.sleep(stuck.seconds)
        elif stuck:
            await stuck.wait_until_cleared()
        del self._by_id[snapshot.id]


def _refuse_untagged(image: str) -> None:
    _, _, tag = image.rpartition("/")[2].partition(":")
    if not tag or tag == "latest":
        raise ApiError(400, 'Image name must include a tag and must not use "latest"')
