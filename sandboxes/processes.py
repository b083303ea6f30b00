"""Processes of this machine: which one a record means, which belong to a sandbox, and how all of them are stopped."""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

import psutil
from pydantic import BaseModel, ConfigDict

from core.errors import InfrastructureError

MARK = "ENGINE_BENCH_SANDBOX"
"""Environment variable that names a process's sandbox by its directory. What the task app starts inherits it."""

GRACE = 5.0
"""Seconds between TERM and KILL."""

_KILL_ROUNDS = 20

_SAME_START = 1.0
"""Seconds by which two readings of one start time may differ: it is computed from a boot time that clocks correct."""


class ProcessId(BaseModel):
    """A process as it can be written down: a pid alone may mean another process later on."""

    model_config = ConfigDict(frozen=True)

    pid: int
    started: float
    """Seconds since the epoch."""

    @classmethod
    def of(cls, pid: int) -> Self:
        """Raises psutil.NoSuchProcess where there is none."""
        return cls(pid=pid, started=psutil.Process(pid).create_time())

    def find(self) -> psutil.Process | None:
        """The process, None once it has ended (also if nobody has collected it yet)."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < _SAME_START
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


def stop_all(directory: Path, leader: ProcessId | None, since: float) -> None:
    """End every process of a sandbox: TERM, and KILL for what is there after the grace.

    Its processes are the leader's group, its descendants, and whatever its working directory or its environment marks
    as the sandbox's, even if it left both. `since` is when the sandbox was made (seconds since the epoch): what started
    earlier can't be its own.

    Raises:
        InfrastructureError: something survives KILL.
    """
    members = _members(directory, leader, since, set())
    for process in members:
        _signal(process.terminate)
    psutil.wait_procs(members, timeout=GRACE)
    # Again and again, since what is about to be killed may fork.
    for _ in range(_KILL_ROUNDS):
        members = _members(directory, leader, since, members)
        if not members:
            return
        for process in members:
            _signal(process.kill)
        psutil.wait_procs(members, timeout=0.5)
    raise InfrastructureError(
        f"Processes {', '.join(str(process.pid) for process in members)} of sandbox {directory.name} survive KILL: "
        f"they belong to another user, or are stuck in the kernel. End them, then remove {directory}."
    )


def _members(
    directory: Path, leader: ProcessId | None, since: float, known: set[psutil.Process]
) -> set[psutil.Process]:
    """What runs of the sandbox now. What is `known` from before leads to its offspring when the leader has gone."""
    living_leader = leader.find() if leader else None
    roots = known | ({living_leader} if living_leader else set())
    group = living_leader.pid if living_leader else None
    # A sandbox may be cleaned up from a shell or a test that is, by its own working directory, inside of it.
    this = psutil.Process()
    found = roots | set(_offspring(roots)) | set(_marked(directory, group))
    return {process for process in found - {this, *this.parents()} if _runs(process, since)}


def _offspring(roots: set[psutil.Process]) -> Iterator[psutil.Process]:
    for process in roots:
        with suppress(psutil.NoSuchProcess):
            yield from process.children(recursive=True)


def _marked(directory: Path, group: int | None) -> Iterator[psutil.Process]:
    for pid in psutil.pids():
        # A process that has just ended, or that isn't ours to read, is not ours to stop.
        with suppress(psutil.Error, ProcessLookupError, PermissionError):
            process = psutil.Process(pid)
            if (
                os.getpgid(pid) == group
                or Path(process.cwd()).is_relative_to(directory)
                or process.environ().get(MARK) == str(directory)
            ):
                yield process


def _runs(process: psutil.Process, since: float) -> bool:
    try:
        young = process.create_time() >= since - _SAME_START
        return young and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(send: Callable[[], None]) -> None:
    # Gone already is what we want; what we may not stop is reported at the end, when it is still there.
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        send()
