"""One sandbox: what was asked for, what state it is in, and the daemon that runs in it."""

from __future__ import annotations

import secrets
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from .daemons import Daemon
from .errors import now
from .images import BuildLog, Dockerfile, Image
from .isolation import Cell
from .models import BuildInfo, CreateSandbox, SandboxState, SandboxView

ORGANIZATION = "00000000-0000-4000-8000-000000000001"
VERSION = "0.226.1-emulator"
DEFAULT_USER = "root"
LIST_ITEM_LEAVES_OUT = {"env", "volumes", "kvm", "build_info"}


@dataclass(frozen=True)
class Resources:
    """cpu, gpu: pieces; memory, disk: GiB."""

    cpu: int = 1
    gpu: int = 0
    memory: int = 1
    disk: int = 3

    @classmethod
    def of(cls, cpu: int | None, gpu: int | None, memory: int | None, disk: int | None) -> Resources:
        return cls(cpu or cls.cpu, gpu or cls.gpu, memory or cls.memory, disk or cls.disk)


@dataclass
class Intervals:
    """Minutes. auto_stop, ttl: 0 is never. auto_delete: negative is never, 0 makes the sandbox's stop its end."""

    auto_stop: int = 15
    auto_archive: int = 7 * 24 * 60
    auto_delete: int = -1
    ttl: int = 0


class Sandbox:
    """State and bookkeeping; `lifecycle.py` changes the state.

    moving: between two states, which is when Daytona refuses any other change
    daemon: there while it is started (never with isolation `none`)
    """

    def __init__(self, request: CreateSandbox, resources: Resources, target: str, toolbox_url: str) -> None:
        self.id = str(uuid.uuid4())
        self.name = request.name or self.id
        self.request = request
        self.resources = resources
        self.target = target
        self.labels = dict(request.labels or {})
        self.public = bool(request.public)
        self.intervals = _intervals(request)
        self.image = Image()
        self.dockerfile: Dockerfile | None = None
        self.snapshot: str | None = None
        self.cell: Cell | None = None
        self.daemon: Daemon | None = None
        self.build_log = BuildLog()
        self.state: SandboxState = "creating"
        self.desired: Literal["started", "stopped", "destroyed"] = "started"
        self.moving = True
        self.error: str | None = None
        self.token = ""
        self.renew_token()
        self.created_at = self.updated_at = self.active_at = now()
        self._toolbox_url = toolbox_url
        self._born = self._last_activity = time.monotonic()

    @property
    def environment(self) -> dict[str, str]:
        identity = {"DAYTONA_SANDBOX_ID": self.id, "DAYTONA_SANDBOX_USER": self.request.user or DEFAULT_USER}
        return {**identity, **self.image.env, **(self.request.env or {})}

    @property
    def online(self) -> bool:
        return not self.request.network_block_all

    @property
    def ephemeral(self) -> bool:
        return self.intervals.auto_delete == 0

    def renew_token(self) -> None:
        """A new preview token; the old one is void. Daytona does so at every stop."""
        self.token = secrets.token_urlsafe(24)

    def touch(self) -> None:
        """Reset the idle timer."""
        self._last_activity = time.monotonic()
        self.active_at = now()

    def idle_seconds(self) -> float:
        return time.monotonic() - self._last_activity

    def age_seconds(self) -> float:
        return time.monotonic() - self._born

    def view(self) -> SandboxView:
        view = SandboxView(
            id=self.id,
            organization_id=ORGANIZATION,
            name=self.name,
            user=self.request.user or DEFAULT_USER,
            env=self.request.env or {},
            labels=self.labels,
            public=self.public,
            network_block_all=not self.online,
            kvm=False,
            target=self.target,
            cpu=self.resources.cpu,
            gpu=self.resources.gpu,
            memory=self.resources.memory,
            disk=self.resources.disk,
            state=self.state,
            desired_state=self.desired,
            backup_state="None",
            auto_stop_interval=self.intervals.auto_stop,
            auto_archive_interval=self.intervals.auto_archive,
            auto_delete_interval=self.intervals.auto_delete,
            volumes=self.request.volumes or [],
            created_at=self.created_at,
            updated_at=self.updated_at,
            last_activity_at=self.active_at,
            sandbox_class="container",
            daemon_version=VERSION,
            runner_id="emulator",
            toolbox_proxy_url=self._toolbox_url,
        )
        self._add_optional_fields(view)
        return view

    def list_item(self) -> SandboxView:
        """The shorter form that a list holds."""
        kept = self.view().model_fields_set - LIST_ITEM_LEAVES_OUT
        return SandboxView.model_construct(kept, **{name: getattr(self.view(), name) for name in kept})

    def _add_optional_fields(self, view: SandboxView) -> None:
        if self.snapshot:
            view.snapshot = self.snapshot
        if self.error:
            view.error_reason, view.recoverable = self.error, False
        if self.request.build_info and self.dockerfile:
            view.build_info = build_info(self.dockerfile, self.request.build_info.dockerfile_content, self.created_at)
        if self.intervals.ttl:
            end = datetime.fromisoformat(self.created_at) + timedelta(minutes=self.intervals.ttl)
            view.auto_destroy_at = end.astimezone(UTC).isoformat()


def build_info(dockerfile: Dockerfile, text: str, created_at: str) -> BuildInfo:
    return BuildInfo(
        dockerfile_content=text,
        context_hashes=[],
        created_at=created_at,
        updated_at=created_at,
        snapshot_ref=f"daytona/{dockerfile.digest[:40]}",
    )


def _intervals(request: CreateSandbox) -> Intervals:
    asked = {
        "auto_stop": request.auto_stop_interval,
        "auto_archive": request.auto_archive_interval,
        "auto_delete": request.auto_delete_interval,
        "ttl": request.ttl_minutes,
    }
    return Intervals(**{name: minutes for name, minutes in asked.items() if minutes is not None})
