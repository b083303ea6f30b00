"""All rollouts of this task app: each known by its correlation id, a bounded number of them running at a time."""

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Literal

from task_app.contracts import CorrelationId, FailureDetails, RolloutRequest, RolloutResponse
from task_app.errors import InfrastructureFailure, TaskAppError
from task_app.rollout import Assignment, Performer, unscored

logger = logging.getLogger(__name__)


class ConflictingRequest(TaskAppError):
    """A correlation id came again with another request."""


class UnknownRollout(TaskAppError):
    """No rollout has this correlation id."""


class Rollout:
    """One rollout under way or finished. It is independent of the requests that started it or ask for it."""

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self.pending_status: Literal["queued", "running"] = "queued"
        """How far it is as long as there is no response."""
        self.response: RolloutResponse | None = None
        self._ended = asyncio.Event()

    @property
    def id(self) -> CorrelationId:
        return self.assignment.request.trace_correlation_id

    @property
    def has_no_score(self) -> bool:
        """It ended, but not with a score, so it may be run again."""
        return self.response is not None and self.response.success_status != "success"

    def end(self, response: RolloutResponse) -> None:
        self.response = response
        self._ended.set()

    async def ended(self) -> RolloutResponse:
        """The response, once there is one."""
        await self._ended.wait()
        assert self.response is not None
        return self.response

    async def ended_within(self, timeout: float) -> None:
        """Wait for the end, at most `timeout` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._ended.wait()


class Rollouts:
    """Starts rollouts, each once, at most `slots` at a time and in the order of their coming.

    It keeps every response for as long as it lives, which is one eval: a repeated request must not be paid for again.
    """

    def __init__(self, performer: Performer, slots: int, ready: Callable[[], Awaitable[None]]) -> None:
        """`ready` is awaited before each rollout; it raises InfrastructureFailure if there can be none."""
        self._performer = performer
        self._ready = ready
        self._slots = asyncio.Semaphore(slots)
        self._rollouts: dict[CorrelationId, Rollout] = {}
        self._tasks: dict[CorrelationId, asyncio.Task[RolloutResponse]] = {}
        self._closing = False

    def submit(self, request: RolloutRequest) -> Rollout:
        """The rollout of this request: the one that is there, or a new one. One that got no score is run again.

        Raises:
            InvalidRequest: it asks for something that is not here.
            ConflictingRequest: its correlation id was used for another request.
            InfrastructureFailure: the task app is being stopped.
        """
        known = self._rollouts.get(request.trace_correlation_id)
        if known is not None and known.assignment.request != request:
            raise ConflictingRequest(
                f"Rollout {known.id} was asked for before with another seed, environment or policy. "
                "Use a new trace_correlation_id for another rollout."
            )
        if known is not None and not known.has_no_score:
            return known
        if self._closing:
            raise InfrastructureFailure("The task app is being stopped and takes no new rollouts.")
        return self._start(Rollout(self._performer.assign(request)))

    def get(self, id: CorrelationId) -> Rollout:
        """Raises UnknownRollout."""
        try:
            return self._rollouts[id]
        except KeyError:
            raise UnknownRollout(f"There is no rollout {id} here.") from None

    async def cancel(self, id: CorrelationId) -> RolloutResponse:
        """End a rollout that is under way, its processes included; one that has ended stays as it is."""
        rollout = self.get(id)
        if task := self._tasks.get(id):
            task.cancel()
        return await rollout.ended()

    async def close(self) -> None:
        """Cancel everything under way and wait until it is gone."""
        self._closing = True
        await asyncio.gather(*(self.cancel(id) for id in list(self._tasks)))

    def _start(self, rollout: Rollout) -> Rollout:
        task = asyncio.create_task(self._run(rollout), name=f"rollout {rollout.id}")
        self._rollouts[rollout.id] = rollout
        self._tasks[rollout.id] = task
        task.add_done_callback(functools.partial(self._settle, rollout))
        return rollout

    async def _run(self, rollout: Rollout) -> RolloutResponse:
        queued = time.monotonic()
        await self._ready()
        async with self._slots:
            waited = time.monotonic() - queued
            rollout.pending_status = "running"
            response = await self._performer.perform(rollout.assignment)
        details = response.reward_info.details
        details.phases = {"queue": waited, **details.phases}
        return response

    def _settle(self, rollout: Rollout, task: asyncio.Task[RolloutResponse]) -> None:
        del self._tasks[rollout.id]
        if task.cancelled():
            failure = FailureDetails(kind="cancelled", message="The rollout was cancelled.")
            rollout.end(unscored(rollout.assignment, "cancelled", failure))
        elif error := task.exception():
            rollout.end(unscored(rollout.assignment, "infrastructure_failure", _explain(rollout.id, error)))
        else:
            rollout.end(task.result())


def _explain(id: CorrelationId, error: BaseException) -> FailureDetails:
    kind = type(error).__name__
    if isinstance(error, InfrastructureFailure):
        logger.warning("Rollout %s has no score: %s", id, error)
        return FailureDetails(kind=kind, message=str(error))
    # Anything else is a bug or a broken machine. Not the agent's doing either, so it must not become a 0.
    logger.error("Rollout %s failed unexpectedly.", id, exc_info=error)
    reason = f"{kind}: {error.strerror}" if isinstance(error, OSError) else kind
    return FailureDetails(kind=kind, message=f"The task app failed unexpectedly ({reason}); its log has the details.")
