"""What can be set about an emulator, on the command line and from tests."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from .isolation import IsolationName


class Settings(BaseModel):
    """How one emulator behaves. All times are seconds, unless their name says otherwise."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    port: int = Field(default=0, ge=0, le=65535)
    """Port on 127.0.0.1; 0 takes a free one."""
    api_key: str = "emulator-key"
    """The only key that is let in."""
    isolation: IsolationName = "auto"
    """How sandboxes are confined: `auto` takes namespaces, else bubblewrap, else none (no commands).
    `hollow`: nothing runs, but engine-bench's own verbs are answered as if it did (hollow.py)."""
    boot_seconds: float = Field(default=0, ge=0)
    """How long a sandbox takes to start, at least."""
    build_seconds: float = Field(default=0, ge=0)
    """How long an image takes to build, at least; a built image is cached and costs nothing again."""
    delete_seconds: float = Field(default=0, ge=0)
    """How long a sandbox or a snapshot stays in its deleting state."""
    latency_ms: float = Field(default=0, ge=0)
    """Milliseconds that every request takes at least."""
    minute_seconds: float = Field(default=60, gt=0)
    """Length of the minute in which auto-stop, auto-delete and time-to-live are counted."""
    total_cpu: int = Field(default=20, ge=1)
    """Quota: cores of all sandboxes that aren't stopped."""
    regions: tuple[str, ...] = ("us", "eu")
    """Targets that exist; the first is the default."""
    preview_refusal: Literal["error", "redirect"] = "error"
    """What a preview without a token gets: 401, or a redirect (307) to a login page."""
