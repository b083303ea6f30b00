"""Runs eval jobs on an eval service, embedded or hosted, through synth-ai's EvalJob and with a poll loop of our own."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import SecretStr, ValidationError
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from core.errors import ConfigurationError, EngineBenchError, InfrastructureError
from evals.models import MISSING, TERMINAL, EvalRequest, JobStatus, Outcome, Progress, Row, rollout_id
from evals.protocol import row_from_result
from evals.secrecy import require_sendable
from evals.synth import EvalServiceUnavailable, SynthJob
from evals.traces import download_traces

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Pace:
    """How often a job is polled."""

    shortest: float = 0.05
    longest: float = 2.0
    """Seconds between polls: a job of no work is noticed at once, a long one polled seldom."""
    growth: float = 1.2
    pause: Callable[[str, float], Awaitable[None]] = lambda _job_id, seconds: asyncio.sleep(seconds)
    """Waits for so many seconds, or until the job of this id has ended, where that can be known."""


POLL_TRIES = 8
"""Failed calls in a row until the eval service counts as unreachable: about a quarter of a minute."""
CANCEL_TIMEOUT = 15.0
"""Seconds that a cancellation may take, while whoever cancelled waits."""

STATUSES: Mapping[str, JobStatus] = {
    "pending": "pending",
    "queued": "pending",
    "running": "running",
    "completed": "completed",
    "succeeded": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
    "canceled": "cancelled",
}

OnSubmitted = Callable[[str], Awaitable[None]]
OnProgress = Callable[[Progress], Awaitable[None]]
ShareHeaders = Callable[[str, Mapping[str, SecretStr]], None]


class EvalClient:
    """A client of the eval service at `url`.

    `share_headers` hands a task app's headers to the service without sending them; only the embedded one can.
    """

    def __init__(
        self, url: str, api_key: SecretStr, *, share_headers: ShareHeaders | None = None, pace: Pace = Pace()
    ) -> None:
        self.url = url
        self._pace = pace
        self._api_key = api_key
        self._share_headers = share_headers

    async def run(
        self,
        request: EvalRequest,
        *,
        job_id: str | None = None,
        deadline: float | None = None,
        on_submitted: OnSubmitted | None = None,
        on_progress: OnProgress | None = None,
    ) -> Outcome:
        """Run a job to its end, or attach to the job `job_id` that was submitted before.

        The job is cancelled when this call is, when `deadline` (seconds) passes, and when a callback fails. It is left
        running when the eval service can't be reached any more, so that a retry can attach to it.

        Args:
            on_submitted: is given the job's id before anything else happens, to write it down.
            on_progress: is told whenever rollouts have ended.

        Raises:
            InfrastructureError: the service can't be reached, does not know the job, or the deadline has passed.
            ConfigurationError: the service refuses the key or the job, or is none.
        """
        self._pass_headers_on(request)
        job = SynthJob(self.url, self._api_key, request, job_id)
        if job_id is None:
            await self._submit(job)
        limit = asyncio.timeout(deadline)
        try:
            if job_id is None and on_submitted:
                await on_submitted(job.id)
            async with limit:
                return await self._ended(job, request, on_progress)
        except EvalServiceUnavailable:
            raise
        except BaseException as error:
            await self._cancel(job)
            if isinstance(error, TimeoutError) and limit.expired():
                raise _too_slow(job, deadline) from None
            raise

    async def download_traces(self, job_id: str, folder: Path) -> list[Path]:
        """Unpack what a job's rollouts left behind into `folder`; see `evals.traces`."""
        return await download_traces(self.url, self._api_key, job_id, folder)

    def _pass_headers_on(self, request: EvalRequest) -> None:
        if not request.task_app_headers:
            return
        if self._share_headers is None:
            raise ConfigurationError(
                f"The task app {request.task_app_url} is behind a gate that wants headers, which a hosted eval service "
                "can't send. Unset SYNTH_BACKEND_URL to use the embedded one, or make the task app public."
            )
        for name, value in request.task_app_headers.items():
            require_sendable(f"The task app's header {name}", value)
        self._share_headers(request.task_app_url, request.task_app_headers)

    async def _submit(self, job: SynthJob) -> None:
        submitting = asyncio.ensure_future(job.submit())
        try:
            await asyncio.shield(submitting)
        except asyncio.CancelledError:
            # The call can't be taken back: wait for the id, or the job would run on unseen.
            await asyncio.wait([submitting], timeout=CANCEL_TIMEOUT)
            if submitting.done() and submitting.exception() is None:
                await self._cancel(job)
            raise

    async def _ended(self, job: SynthJob, request: EvalRequest, on_progress: OnProgress | None) -> Outcome:
        status, error = await self._wait(job, len(request.seeds), on_progress)
        rows = _rows(await _patiently(job.results), request, error)
        return Outcome(job_id=job.id, status=status, rows=rows, error=error)

    async def _wait(self, job: SynthJob, total: int, on_progress: OnProgress | None) -> tuple[JobStatus, str | None]:
        """Poll until the job has ended."""
        pause, told = self._pace.shortest, None
        while True:
            document = await _patiently(job.status)
            status, progress = self._status(document), _progress(document, total)
            if on_progress and progress != told:
                await on_progress(progress)
                told = progress
            if status in TERMINAL:
                return status, document.get("error")
            await self._pace.pause(job.id, pause)
            pause = min(self._pace.growth * pause, self._pace.longest)

    def _status(self, document: dict[str, Any]) -> JobStatus:
        status = str(document.get("status")).lower()
        if status not in STATUSES:
            raise ConfigurationError(
                f"The eval service {self.url} reports the unknown job status {status!r}: it speaks another version of "
                "the protocol. Unset SYNTH_BACKEND_URL to use the embedded eval service."
            )
        return STATUSES[status]

    async def _cancel(self, job: SynthJob) -> None:
        """Cancel the job; the call goes on if this one is cancelled again."""
        await asyncio.wait([asyncio.create_task(_cancel_or_warn(job))], timeout=CANCEL_TIMEOUT)


async def _cancel_or_warn(job: SynthJob) -> None:
    try:
        await job.cancel("its client has ended")
    except EngineBenchError as error:
        log.warning("Eval job %s may still be running: %s", job.id, error)


async def _patiently(call: Callable[[], Awaitable[T]]) -> T:
    """The result of a call that may be repeated, which it is as long as the service is only unavailable."""
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(EvalServiceUnavailable),
        stop=stop_after_attempt(POLL_TRIES),
        wait=wait_random_exponential(multiplier=0.2, max=5),
        reraise=True,
    )
    return await retrying(call)


def _too_slow(job: SynthJob, deadline: float | None) -> InfrastructureError:
    return InfrastructureError(
        f"Eval job {job.id} did not end within {deadline:g} s and was cancelled; what it finished is kept. "
        "Run it again with more time, fewer seeds, or more rollouts at a time."
    )


def _progress(document: dict[str, Any], total: int) -> Progress:
    try:
        return Progress.model_validate({"completed": 0, "total": total} | (document.get("results") or {}))
    except (ValidationError, TypeError):
        # a hosted service may send the rows themselves here, or nothing
        return Progress(completed=0, total=total)


def _rows(document: dict[str, Any], request: EvalRequest, error: str | None) -> list[Row]:
    """One row for each seed of the request; a seed that is missing was not scored."""
    results = document.get("results")
    if isinstance(results, dict):
        results = results.get("items")
    try:
        found = {row.seed: row for row in (row_from_result(result, request.run_id) for result in results or [])}
    except (ValueError, TypeError, AttributeError) as invalid:
        raise InfrastructureError(f"The eval service sent results that can't be read: {invalid}.") from None
    reason = f"The job ended before this rollout did: {error}" if error else "The eval service sent no row for it."
    return [
        found.get(seed) or Row.infrastructure(seed, rollout_id(request.run_id, seed), MISSING, reason)
        for seed in request.seeds
    ]
