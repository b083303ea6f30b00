"""Removing sandboxes, so that nothing is left to pay for: by handle, by name, by label."""

import asyncio
import logging

from daytona import AsyncDaytona, AsyncSandbox, DaytonaError
from daytona.common.sandbox import ListSandboxesQuery
from daytona_api_client_async import SandboxState

from core.errors import ConfigurationError
from core.redaction import redact
from sandboxes.base import SandboxSpec
from sandboxes.daytona.errors import DASHBOARD, explained, explaining, is_gone, patiently, persistently
from sandboxes.daytona.labels import is_of, labels_of
from sandboxes.daytona.patience import Patience

_PAUSE = 1.0

logger = logging.getLogger(__name__)


async def find(sdk: AsyncDaytona, name: str, patience: Patience) -> AsyncSandbox | None:
    """The sandbox of this name, or None. A deleted one has lost its name."""
    try:
        return await persistently("look for a sandbox", lambda: sdk.get(name), patience.call)
    except DaytonaError as error:
        if is_gone(error):
            return None
        raise explained(error, f"look for sandbox {name}") from None


async def reap(sdk: AsyncDaytona, spec: SandboxSpec, patience: Patience) -> None:
    """Remove whatever there is of this spec: what has its name, then what has its labels. Fine if there is nothing.

    Raises:
        EngineBenchError: something may be left behind; the message names it.
    """
    named = await find(sdk, spec.name, patience)
    if named and is_of(named, spec):
        await remove(named, spec.name, patience)
    elif named:
        logger.warning("Sandbox %s belongs to flow run %s: left alone.", spec.name, named.labels.get("flow_run_id"))
    # A create may have come to an end only now, and what is being deleted has no name any more.
    doing = f"look for what is left of sandbox {spec.name}"
    for box in await explaining(doing, lambda: _labelled(sdk, spec), patience.call):
        await remove(box, spec.name, patience)


async def remove(box: AsyncSandbox, name: str, patience: Patience) -> bool:
    """Delete the sandbox and wait until it is gone; False if it was gone already.

    Raises:
        ConfigurationError: Daytona refuses; it was stopped instead, if possible.
        InfrastructureError: it takes too long, or Daytona can't be reached.
    """
    deadline = asyncio.get_running_loop().time() + patience.delete
    while True:
        try:
            await persistently(
                "delete a sandbox", lambda: box.delete(timeout=patience.delete, wait=True), patience.call
            )
            return True
        except DaytonaError as error:
            if is_gone(error):
                return False
            if error.status_code == 403:
                await _stop_instead(box, name, error, patience)
                return True
            # 409: it is changing its state, e.g. still booting. That passes.
            if error.status_code != 409 or not await patiently(_PAUSE, deadline):
                raise explained(error, f"delete sandbox {name}") from None


async def _stop_instead(box: AsyncSandbox, name: str, refusal: DaytonaError, patience: Patience) -> None:
    """A stopped sandbox costs no more computing, and an ephemeral one goes away by itself."""
    reason = redact(str(refusal))
    try:
        await persistently("stop a sandbox", box.stop, patience.call)
        await box.refresh_data()
    except DaytonaError as error:
        if is_gone(error):
            logger.warning("Daytona refused to delete sandbox %s (%s); stopping it removed it.", name, reason)
            return
        raise ConfigurationError(
            f"Sandbox {name} is left behind: Daytona refused to delete it ({reason}) and to stop it "
            f"({redact(str(error))}). Delete it at {DASHBOARD}/sandboxes."
        ) from None
    if box.state in {SandboxState.DESTROYING, SandboxState.DESTROYED}:
        logger.warning("Daytona refused to delete sandbox %s (%s); stopping it removed it.", name, reason)
        return
    raise ConfigurationError(
        f"Daytona refused to delete sandbox {name} ({reason}). It was stopped instead; delete it at "
        f"{DASHBOARD}/sandboxes, and give the API key the permission to delete sandboxes."
    )


async def _labelled(sdk: AsyncDaytona, spec: SandboxSpec) -> list[AsyncSandbox]:
    query = ListSandboxesQuery(labels=labels_of(spec))
    return [box async for box in sdk.list(query) if box.state != SandboxState.DESTROYED]
