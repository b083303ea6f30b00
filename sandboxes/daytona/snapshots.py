"""Snapshots: what is installed once, so that a sandbox starts with everything in place."""

import asyncio
import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any

from daytona import AsyncDaytona, CreateSnapshotParams, DaytonaConflictError, DaytonaError
from daytona.common.snapshot import Snapshot

from core.errors import ConfigurationError, InfrastructureError
from core.redaction import redact
from sandboxes.daytona.errors import explained, explaining, is_gone, patiently, persistently
from sandboxes.daytona.images import PREFIX, Definition

ACTIVE, INACTIVE = "active", "inactive"
FAILED = {"error", "build_failed"}

_POLL = 1.0
_PAGE = 100
_UNREADABLE = re.compile(r"(\S{20})\S{80,}")
"""A word as long as this is a file that travels in the definition as text."""

logger = logging.getLogger(__name__)

Show = Callable[[str], Any]


async def build(sdk: AsyncDaytona, definition: Definition, *, patience: float, show: Show) -> bool:
    """Have the snapshot, active, within `patience` seconds; True if it had to be built. `show` gets the build's log.

    Whatever state it is in is dealt with: what has failed is removed and built anew, what another run builds is waited
    for, what is inactive is activated.

    Raises:
        ConfigurationError: Daytona refuses.
        InfrastructureError: the build failed or takes too long; what it left is removed.
    """
    deadline = asyncio.get_running_loop().time() + patience
    while not await _settled(sdk, definition.name, deadline):
        try:
            await _build(sdk, definition, patience, show)
            return True
        except DaytonaConflictError:
            # Somebody else was faster, or its deletion has not ended yet.
            await _pause(definition.name, deadline)
    return False


async def activate(sdk: AsyncDaytona, name: str, *, patience: float) -> None:
    """Have an existing snapshot active.

    Raises:
        ConfigurationError: it is not there, or its build has failed.
        InfrastructureError: it takes too long.
    """
    snapshot = await find(sdk, name)
    if snapshot is None:
        raise ConfigurationError(
            f"There is no snapshot {name}. `engine-bench snapshot list` shows yours; `--snapshot auto` builds one."
        )
    if state_of(snapshot) in FAILED:
        raise ConfigurationError(
            f"Snapshot {name} is no good ({state_of(snapshot)}: {snapshot.error_reason or 'no reason given'}). "
            "Delete it, or use `--snapshot auto`."
        )
    await _settled(sdk, name, asyncio.get_running_loop().time() + patience)


async def list_ours(sdk: AsyncDaytona) -> list[Snapshot]:
    """All snapshots that we have built, in whatever state."""
    found: list[Snapshot] = []
    page, pages = 1, 1
    while page <= pages:
        answer = await explaining("list snapshots", partial(sdk.snapshot.list, page, _PAGE))
        found += [Snapshot.from_dto(item) for item in answer.items]
        page, pages = page + 1, int(answer.total_pages)
    return [snapshot for snapshot in found if snapshot.name.startswith(PREFIX)]


async def delete(sdk: AsyncDaytona, name: str, *, patience: float) -> bool:
    """Delete the snapshot and wait until its name is free; False if there is none.

    Raises:
        ConfigurationError: it is not one of ours, or Daytona refuses.
        InfrastructureError: it takes too long.
    """
    if not name.startswith(PREFIX):
        raise ConfigurationError(f"{name} is not one of engine-bench's snapshots, whose names begin with {PREFIX}.")
    deadline = asyncio.get_running_loop().time() + patience
    was_there = False
    while snapshot := await find(sdk, name):
        was_there = True
        if state_of(snapshot) != "removing":
            await _delete(sdk, snapshot)
        await _pause(name, deadline)
    return was_there


async def find(sdk: AsyncDaytona, name: str) -> Snapshot | None:
    try:
        return await persistently("look for a snapshot", lambda: sdk.snapshot.get(name))
    except DaytonaError as error:
        if is_gone(error):
            return None
        raise explained(error, f"look for snapshot {name}") from None


def state_of(snapshot: Snapshot) -> str:
    return str(getattr(snapshot.state, "value", snapshot.state))


async def _settled(sdk: AsyncDaytona, name: str, deadline: float) -> bool:
    """True once the snapshot is active, False once there is none."""
    while snapshot := await find(sdk, name):
        state = state_of(snapshot)
        if state == ACTIVE:
            return True
        if state == INACTIVE:
            await explaining(f"activate snapshot {name}", partial(sdk.snapshot.activate, snapshot))
            continue
        if state in FAILED:
            await _delete(sdk, snapshot)
        await _pause(name, deadline)
    return False


async def _build(sdk: AsyncDaytona, definition: Definition, patience: float, show: Show) -> None:
    """DaytonaConflictError where the name is taken."""
    parameters = CreateSnapshotParams(name=definition.name, image=definition.image, resources=definition.resources)
    try:
        await persistently(
            "build a snapshot",
            lambda: sdk.snapshot.create(parameters, on_logs=lambda text: _show_lines(text, show), timeout=patience),
        )
    except DaytonaConflictError:
        raise
    except DaytonaError as error:
        failed = await find(sdk, definition.name)
        if failed and state_of(failed) in FAILED:
            await _delete(sdk, failed)
            reason = redact(failed.error_reason or "no reason given")
            raise InfrastructureError(
                f"Snapshot {definition.name} can't be built: {reason}. The log of the build says more; "
                "`--snapshot none` does without."
            ) from None
        raise explained(error, f"build snapshot {definition.name}") from None


def _show_lines(text: str, show: Show) -> None:
    for line in redact(text).splitlines():
        show(_UNREADABLE.sub(r"\1...", line))


async def _delete(sdk: AsyncDaytona, snapshot: Snapshot) -> None:
    """Ask for the deletion, which takes its time; while the snapshot is in the making it is refused."""
    try:
        await persistently("delete a snapshot", lambda: sdk.snapshot.delete(snapshot))
    except DaytonaError as error:
        if not is_gone(error) and error.status_code != 409:
            raise explained(error, f"delete snapshot {snapshot.name}") from None


async def _pause(name: str, deadline: float) -> None:
    if not await patiently(_POLL, deadline):
        raise InfrastructureError(f"Snapshot {name} does not get ready, or does not go away, in time. Try again later.")
