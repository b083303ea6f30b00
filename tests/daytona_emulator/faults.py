"""Faults on demand: armed by a test, taken where they strike."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

FaultKind = Literal[
    # These strike a request; `match` is searched in "METHOD /path"...
    "rate_limited",
    "error",
    "toolbox_down",
    # ...in which these write a sandbox by its name, a new one too ("POST /sandbox/NAME").
    "conflict",
    "quota",
    "delete_denied",
    "create_timeout",
    # This strikes a command in a sandbox; `match` is searched in its text.
    "slow_command",
    # These strike a sandbox or a snapshot; `match` is searched in its name.
    "slow_boot",
    "failed_boot",
    "slow_build",
    "build_failed",
    "snapshot_error",
    "stuck_deleting",
]


class Fault(BaseModel):
    """One armed fault. See README.md for what each kind does.

    kind: what goes wrong
    match: regular expression that narrows down whom it strikes
    after: how many matching subjects pass unharmed first
    times: how many are struck; None: all, until the fault is cleared or over. 1 unless `lasts` is given
    lasts: seconds after which the fault is over
    seconds: for the slow kinds, how much slower; for rate_limited, the Retry-After; stuck_deleting with 0 is for ever
    status, message: for kind `error`, the answer; elsewhere `message` replaces the usual one
    """

    model_config = ConfigDict(extra="forbid")

    id: str = Field(default_factory=lambda: uuid.uuid4().hex)
    kind: FaultKind
    match: str = ""
    after: int = Field(default=0, ge=0)
    times: int | None = Field(default=None, ge=1)
    lasts: float | None = Field(default=None, gt=0)
    seconds: float = Field(default=0, ge=0)
    status: int = Field(default=500, ge=400, le=599)
    message: str = ""

    _armed_at: float = PrivateAttr(default_factory=time.monotonic)
    _cleared: asyncio.Event = PrivateAttr(default_factory=asyncio.Event)

    @model_validator(mode="after")
    def strike_once_by_default(self) -> Self:
        if "times" not in self.model_fields_set and self.lasts is None:
            self.times = 1
        return self

    def strikes(self, kind: FaultKind, subject: str) -> bool:
        """Whether it strikes this subject; counts it if so."""
        if kind != self.kind or self.over() or not re.search(self.match, subject):
            return False
        if self.after:
            self.after -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True

    def over(self) -> bool:
        expired = self.lasts is not None and time.monotonic() > self._armed_at + self.lasts
        return self._cleared.is_set() or self.times == 0 or expired

    def clear(self) -> None:
        self._cleared.set()

    async def wait_until_cleared(self) -> None:
        await self._cleared.wait()


class Faults:
    """All faults that were armed, in that order; the first that strikes is taken."""

    def __init__(self) -> None:
        self._armed: list[Fault] = []

    def arm(self, fault: Fault) -> None:
        self._armed.append(fault)

    def clear(self) -> None:
        """Disarm all, and let go of what they hold up."""
        for fault in self._armed:
            fault.clear()
        self._armed.clear()

    def take(self, kind: FaultKind, subject: str) -> Fault | None:
        """The fault of that kind that strikes the subject now, if any."""
        return next((fault for fault in self._armed if fault.strikes(kind, subject)), None)

    def delay(self, kind: FaultKind, subject: str) -> float:
        """Seconds that a fault of a slow kind adds."""
        fault = self.take(kind, subject)
        return fault.seconds if fault else 0
