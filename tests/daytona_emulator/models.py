"""What goes over the wire: the requests that the emulator reads and the answers that it gives.

Fields are those of Daytona's API, as its client of release 0.226 requires them. A field that was never set is left out
of an answer; one that was set to None goes out as null.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

SandboxState = Literal[
    "pending_build",
    "building_snapshot",
    "creating",
    "starting",
    "started",
    "stopping",
    "stopped",
    "destroying",
    "destroyed",
    "error",
    "build_failed",
]
SnapshotState = Literal["pulling", "building", "active", "inactive", "error", "build_failed", "removing"]


class Wire(BaseModel):
    """camelCase outside, snake_case inside; unknown fields of a request are kept out."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class CreateBuildInfo(Wire):
    dockerfile_content: str
    context_hashes: list[str] | None = None


class CreateSandbox(Wire):
    name: str | None = None
    snapshot: str | None = None
    user: str | None = None
    env: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    public: bool | None = None
    network_block_all: bool | None = None
    target: str | None = None
    cpu: int | None = None
    gpu: int | None = None
    memory: int | None = None
    disk: int | None = None
    auto_stop_interval: int | None = None
    auto_archive_interval: int | None = None
    auto_delete_interval: int | None = None
    ttl_minutes: int | None = None
    volumes: list[dict[str, Any]] | None = None
    build_info: CreateBuildInfo | None = None

    def asks_for_resources(self) -> bool:
        return any((self.cpu, self.gpu, self.memory, self.disk))


class CreateSnapshot(Wire):
    name: str
    image_name: str | None = None
    entrypoint: list[str] | None = None
    cpu: int | None = None
    gpu: int | None = None
    memory: int | None = None
    disk: int | None = None
    build_info: CreateBuildInfo | None = None
    region_id: str | None = None


class ReplaceLabels(Wire):
    labels: dict[str, str]


class BuildInfo(Wire):
    dockerfile_content: str
    context_hashes: list[str]
    created_at: str
    updated_at: str
    snapshot_ref: str


class SandboxView(Wire):
    """A sandbox. In a list, `env`, `volumes`, `kvm` and `build_info` are left out."""

    id: str
    organization_id: str
    name: str
    user: str
    env: dict[str, str] = {}
    labels: dict[str, str]
    public: bool
    network_block_all: bool
    kvm: bool = False
    target: str
    cpu: int
    gpu: int
    memory: int
    disk: int
    state: SandboxState
    desired_state: Literal["started", "stopped", "destroyed"]
    backup_state: str
    auto_stop_interval: int
    auto_archive_interval: int
    auto_delete_interval: int
    auto_destroy_at: str | None = None
    volumes: list[dict[str, Any]] = []
    created_at: str
    updated_at: str
    last_activity_at: str
    sandbox_class: str
    daemon_version: str
    runner_id: str
    toolbox_proxy_url: str
    snapshot: str | None = None
    error_reason: str | None = None
    recoverable: bool | None = None
    build_info: BuildInfo | None = None


class SnapshotView(Wire):
    id: str
    organization_id: str
    general: bool
    name: str
    image_name: str | None = None
    state: SnapshotState
    size: float | None
    entrypoint: list[str] | None
    cpu: int
    gpu: int
    mem: int
    disk: int
    error_reason: str | None
    created_at: str
    updated_at: str
    last_used_at: str | None
    build_info: BuildInfo | None = None
    region_ids: list[str]
    source_sandbox_id: str | None
    sandbox_class: str
