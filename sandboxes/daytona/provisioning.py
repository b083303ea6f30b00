"""Making a sandbox, or adopting the one that is there. Behind every create that fails comes a reaper."""

import asyncio
import logging
import math
from datetime import UTC, datetime

from daytona import (
    AsyncDaytona,
    AsyncSandbox,
    CreateSandboxFromImageParams,
    CreateSandboxFromSnapshotParams,
    DaytonaConflictError,
    DaytonaError,
    Image,
    Resources,
)
from daytona_api_client_async import SandboxState

from core.errors import ConfigurationError, EngineBenchError, InfrastructureError
from core.redaction import redact
from sandboxes.base import Machine, SandboxSpec
from sandboxes.daytona.errors import explained, is_passing, is_quota, patiently, retry_after
from sandboxes.daytona.labels import is_of, is_ours, labels_for, record_of
from sandboxes.daytona.patience import Patience
from sandboxes.daytona.removal import find, reap, remove

DEFAULT_IMAGE = "python:3.12-slim-trixie"

_HAVE_PYTHON = (
    "python3 -c 'import ensurepip, ssl' || "
    "(apt-get update -q && apt-get install -q -y --no-install-recommends python3 python3-venv)"
)
_STAY = 'ENTRYPOINT ["sleep", "infinity"]'

IDLE_MINUTES = 30
"""Without any traffic, heartbeats included, a sandbox stops after these, and as it is ephemeral that is its end."""

_BECOMING = {
    SandboxState.PENDING_BUILD,
    SandboxState.BUILDING_SNAPSHOT,
    SandboxState.PULLING_SNAPSHOT,
    SandboxState.CREATING,
    SandboxState.STARTING,
}
_TRIES = 5
"""At a name that is taken again and again."""
_PAUSE = 1.0

logger = logging.getLogger(__name__)


def resources(machine: Machine) -> Resources:
    return Resources(cpu=machine.cpu, memory=machine.memory, disk=machine.disk)


def base_image(machine: Machine) -> Image:
    """What a machine starts from, or its snapshot is built on; Python is brought into what tasks' own authors made."""
    if not machine.dockerfile:
        return Image.base(machine.image or DEFAULT_IMAGE)
    return Image().dockerfile_commands([machine.dockerfile, "USER root", f"RUN {_HAVE_PYTHON}", _STAY])


def from_snapshot(machine: Machine) -> bool:
    return machine.snapshot not in {"none", "auto"}


async def provision(sdk: AsyncDaytona, spec: SandboxSpec, patience: Patience) -> tuple[AsyncSandbox, bool]:
    """The started sandbox of this spec, and whether it is new.

    Raises:
        ConfigurationError: its name belongs to somebody else, or Daytona refuses for good.
        InfrastructureError: it did not start, or the quota stays exhausted. Nothing is left behind.
    """
    for _ in range(_TRIES):
        try:
            return await _create(sdk, spec, patience), True
        except DaytonaConflictError:
            if box := await _take_over(sdk, spec, patience):
                return box, False
    raise InfrastructureError(f"The name {spec.name} is taken by one sandbox after the other. Run it again.")


async def _create(sdk: AsyncDaytona, spec: SandboxSpec, patience: Patience) -> AsyncSandbox:
    """DaytonaConflictError where the name is taken."""
    begin = asyncio.get_running_loop().time()
    while True:
        try:
            return await sdk.create(_parameters(spec), timeout=patience.create)
        except DaytonaConflictError:
            raise
        except DaytonaError as error:
            await _reap_behind(sdk, spec, patience)
            pause = retry_after(error) or (patience.quota_pause if is_quota(error) else _PAUSE)
            allowed = patience.quota if is_quota(error) else patience.call if is_passing(error) else 0
            if is_quota(error):
                logger.warning(
                    "Daytona's quota is exhausted (%s): waiting for room for sandbox %s, at most %g s.",
                    *(redact(str(error)), spec.name, allowed),
                )
            if not await patiently(pause, begin + allowed):
                raise explained(error, f"create sandbox {spec.name}") from None
        except BaseException:
            # Cancelled: the request may be on its way, and what comes of it nobody waits for.
            await asyncio.shield(_reap_behind(sdk, spec, patience))
            raise


async def _reap_behind(sdk: AsyncDaytona, spec: SandboxSpec, patience: Patience) -> None:
    """Whatever the failed create has left. If that fails too, the error of the create is the news."""
    try:
        await reap(sdk, spec, patience)
    except EngineBenchError as error:
        logger.warning("Sandbox %s may be left behind until its cleanup: %s", spec.name, error)


def _parameters(spec: SandboxSpec) -> CreateSandboxFromImageParams | CreateSandboxFromSnapshotParams:
    common = {
        "name": spec.name,
        "labels": labels_for(spec),
        "public": False,
        "ephemeral": True,
        "auto_stop_interval": IDLE_MINUTES,
        "ttl_minutes": math.ceil(spec.lifetime / 60),
    }
    if from_snapshot(spec.machine):
        return CreateSandboxFromSnapshotParams.model_validate({**common, "snapshot": spec.machine.snapshot})
    size = resources(spec.machine)
    return CreateSandboxFromImageParams.model_validate({**common, "image": base_image(spec.machine), "resources": size})


async def _take_over(sdk: AsyncDaytona, spec: SandboxSpec, patience: Patience) -> AsyncSandbox | None:
    """The sandbox that has the name, if it is ours and fine; None once the name is free."""
    box = await find(sdk, spec.name, patience)
    if box is None:
        return None
    if is_of(box, spec):
        if await _is_fine(box, patience):
            return box
    elif not _is_abandoned(box):
        owner = (
            f"belongs to flow run {box.labels.get('flow_run_id')}" if is_ours(box) else "was not made by engine-bench"
        )
        raise ConfigurationError(
            f"The name {spec.name} is taken by a sandbox that {owner}. Wait until it is gone, or delete it."
        )
    await remove(box, spec.name, patience)
    return None


async def _is_fine(box: AsyncSandbox, patience: Patience) -> bool:
    """Whether it is started, or gets there."""
    if box.state in _BECOMING:
        try:
            await box.wait_for_sandbox_start(timeout=patience.create)
        except DaytonaError as error:
            logger.warning("Sandbox %s did not start, replacing it: %s", box.name, redact(str(error)))
    return box.state == SandboxState.STARTED


def _is_abandoned(box: AsyncSandbox) -> bool:
    record = record_of(box)
    return record is not None and record.expires_at < datetime.now(UTC)
