"""The flow `sweep-sandboxes`: removes what dead runs have left behind. The last of the layers that clean up."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from prefect import flow
from prefect.artifacts import acreate_table_artifact
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from pydantic import BaseModel, ConfigDict, Field

from core.errors import EngineBenchError, InfrastructureError
from core.settings import Settings
from flows.credentials import with_daytona_credentials
from flows.parameters import form
from sandboxes import BACKENDS, opened_backend
from sandboxes.base import Backend, SandboxRecord

ARTIFACT = "sweep-sandboxes"

AT_A_TIME = 8
"""Removals side by side; a cloud takes seconds for each."""


class SweepParameters(BaseModel):
    """What to do with sandboxes that nobody needs any more."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dry_run: bool = Field(default=False, description="Only list what would be removed.")
    unknown_runs: bool = Field(
        default=True,
        description="Also remove sandboxes whose flow run this Prefect server does not know. "
        "Switch it off where several Prefect servers share one Daytona account.",
    )


Outcome = Literal["removed", "would be removed", "kept", "not removed"]


class Verdict(BaseModel):
    """What became of one sandbox, and why: a row of the artifact."""

    model_config = ConfigDict(frozen=True)

    sandbox: str
    backend: str
    flow_run: str
    reason: str
    outcome: Outcome


@dataclass(frozen=True)
class Broom:
    """Judges sandboxes, and removes those that nobody needs."""

    parameters: SweepParameters
    client: PrefectClient
    slots: asyncio.Semaphore

    async def sweep(self, backend: Backend, record: SandboxRecord) -> Verdict:
        """Judge one sandbox and act at once, since its run may be retried any time."""
        async with self.slots:
            state = await self._state(record.spec.run_id)
            reason = removal_reason(record, state, datetime.now(UTC), unknown_runs=self.parameters.unknown_runs)
            if reason is None:
                return _verdict(backend, record, f"its flow run is {state.name}" if state else "not known here", "kept")
            if self.parameters.dry_run:
                return _verdict(backend, record, reason, "would be removed")
            try:
                await backend.cleanup(record.spec)
            except EngineBenchError as error:
                return _verdict(backend, record, f"{reason}, but: {error}", "not removed")
            return _verdict(backend, record, reason, "removed")

    async def _state(self, run_id: str) -> State | None:
        """The flow run's state, None for a run that this server does not know."""
        try:
            return (await self.client.read_flow_run(UUID(run_id))).state
        except (ValueError, ObjectNotFound):
            return None


def removal_reason(record: SandboxRecord, state: State | None, now: datetime, *, unknown_runs: bool) -> str | None:
    """Why a sandbox may go, None if it may not. `state` is that of its flow run, None where the server knows none."""
    if record.expires_at <= now:
        return f"it has expired at {record.expires_at:%Y-%m-%d %H:%M} UTC"
    if record.owner_alive is False:
        return "the process of its flow run has died"
    if state and state.is_final():
        return f"its flow run is {state.name}"
    # A live process of an unknown run reports to another Prefect server.
    if state is None and unknown_runs and not record.owner_alive:
        return "its flow run is unknown"
    return None


@flow(name="sweep-sandboxes")
@form(SweepParameters)
async def sweep_sandboxes(parameters: SweepParameters) -> list[Verdict]:
    """Remove sandboxes whose flow run has finished, died, expired or is unknown. Touches nothing but our own."""
    logger, unreachable = get_run_logger(), list[EngineBenchError]()

    def left_out(backend: str, error: EngineBenchError) -> None:
        logger.info(f"Backend {backend} is left out: {error}")
        # One that is not set up here has no sandboxes of ours; one that does not answer may have.
        if isinstance(error, InfrastructureError):
            unreachable.append(error)

    async with get_client() as client, our_sandboxes(Settings(), left_out) as found:
        broom = Broom(parameters, client, asyncio.Semaphore(AT_A_TIME))
        verdicts = await asyncio.gather(*(broom.sweep(backend, record) for backend, record in found))
    for verdict in verdicts:
        logger.info(f"{verdict.sandbox} ({verdict.backend}) {verdict.outcome}: {verdict.reason}")
    await _publish(verdicts)
    left = [f"{verdict.sandbox}: {verdict.reason}" for verdict in verdicts if verdict.outcome == "not removed"]
    if problems := [*map(str, unreachable), *left]:
        raise InfrastructureError(f"The sweep is not complete; the next one tries again. {'; '.join(problems[:3])}")
    return verdicts


@asynccontextmanager
async def our_sandboxes(
    settings: Settings, left_out: Callable[[str, EngineBenchError], None], backends: Iterable[str] = BACKENDS
) -> AsyncIterator[Sequence[tuple[Backend, SandboxRecord]]]:
    """All sandboxes that carry our mark, with their backends, which are open inside.

    A backend that is not set up here, or does not answer, is `left_out`.
    """
    settings = await with_daytona_credentials(settings)
    found: list[tuple[Backend, SandboxRecord]] = []
    async with AsyncExitStack() as stack:
        for name in backends:
            try:
                backend = await stack.enter_async_context(opened_backend(name, settings))
                found += [(backend, record) for record in await backend.list()]
            except EngineBenchError as error:
                left_out(name, error)
        yield found


def _verdict(backend: Backend, record: SandboxRecord, reason: str, outcome: Outcome) -> Verdict:
    spec = record.spec
    return Verdict(sandbox=spec.name, backend=backend.name, flow_run=spec.run_id, reason=reason, outcome=outcome)


async def _publish(verdicts: Sequence[Verdict]) -> None:
    counts = Counter(verdict.outcome for verdict in verdicts)
    description = ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "no sandboxes"
    table = [verdict.model_dump() for verdict in verdicts]
    await acreate_table_artifact(table=table, key=ARTIFACT, description=description)
