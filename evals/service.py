"""The embedded eval service: Synth's eval protocol on a free loopback port, inside this process.

async with open_store(url) as store, serve(store) as service:
    outcome = await service.client().run(request)
"""

import asyncio
import logging
import reprlib
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from pydantic import SecretStr

from core.errors import ConfigurationError, EngineBenchError
from evals.client import EvalClient, Pace
from evals.jobs import Job, JobRunner, RolloutLocks, Turn
from evals.models import INTERRUPTED, TERMINAL, JobStatus
from evals.protocol import JobRequest
from evals.store import Store
from evals.task_app_client import Patience, connect

log = logging.getLogger(__name__)

NO_HEADERS: Mapping[str, SecretStr] = MappingProxyType({})


class EvalService:
    """The jobs of this process, and those that the store remembers."""

    def __init__(self, store: Store, patience: Patience, turn: Turn) -> None:
        self.store = store
        self.api_key = SecretStr(secrets.token_urlsafe(32))
        self.url = ""
        """Known once it is being served."""
        self._patience = patience
        self._turn = turn
        self._locks = RolloutLocks()
        self._jobs: dict[str, Job] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, tuple[JobStatus, str | None]] = {}
        """How a job ends, by its id, as soon as that is settled: from then on it is not cancelled (again)."""
        self._headers: dict[str, Mapping[str, SecretStr]] = {}

    def client(self) -> EvalClient:
        """A client of this service."""
        # the end of a job is noticed at once, so that polls are for its progress alone
        pace = Pace(shortest=0.2, longest=10.0, growth=2.0, pause=self._until_ended)
        return EvalClient(self.url, self.api_key, share_headers=self.share_headers, pace=pace)

    def share_headers(self, task_app_url: str, headers: Mapping[str, SecretStr]) -> None:
        """Send these to the task app at this URL; they are secrets that must not travel in a job."""
        self._headers[task_app_url.rstrip("/")] = headers

    async def submit(self, request: JobRequest) -> Job:
        """Write a job down and start it.

        Raises:
            ConfigurationError: the run already has a job with another policy, benchmark or split.
        """
        job_id = f"eval-{secrets.token_hex(8)}"
        job = Job(id=job_id, run_id=request.env_config.run_id or job_id, request=request)
        await self._require_same_task(job)
        await self.store.add_job(job.id, job.run_id, request.without_keys())
        job.status = "running"
        self._jobs[job.id] = job
        self._running[job.id] = asyncio.create_task(self._run(job), name=job.id)
        # Let it begin: a task that is cancelled before it does could not even write down that it was.
        await asyncio.sleep(0)
        return job

    async def find(self, job_id: str) -> Job | None:
        """The job as it stands; one that ran in a process that is gone has failed as interrupted, its rows kept."""
        if job_id in self._jobs:
            return self._jobs[job_id]
        stored = await self.store.job(job_id)
        if stored is None:
            return None
        request = JobRequest.model_validate(stored.request | {"task_app_api_key": ""})
        job = Job(stored.id, stored.run_id, request, stored.status, stored.error, stored.created_at, stored.finished_at)
        job.rows = {row.seed: row for row in await self.store.rows(job.run_id, request.seeds)}
        if job.status not in TERMINAL:
            await self._finish(job, "failed", f"{INTERRUPTED}: the eval service that ran this job has ended.")
        return job

    async def cancel(self, job: Job, reason: str) -> None:
        """End a job and what it runs at the task app. Nothing to do where it has ended."""
        await self._stop(job.id, "cancelled", reason)

    async def close(self) -> None:
        """End what still runs; a new job of the same run completes it."""
        reason = f"{INTERRUPTED}: the eval service was stopped."
        await asyncio.gather(*(self._stop(job_id, "failed", reason) for job_id in list(self._running)))

    async def _until_ended(self, job_id: str, timeout: float) -> None:
        """Wait until a job of this process has ended, at most `timeout` seconds."""
        if task := self._running.get(job_id):
            await asyncio.wait([task], timeout=timeout)
        elif job_id not in self._jobs:
            await asyncio.sleep(timeout)

    async def _stop(self, job_id: str, status: JobStatus, reason: str) -> None:
        task = self._running.get(job_id)
        if task is None:
            return
        if job_id not in self._ends:
            self._ends[job_id] = (status, reason)
            task.cancel()
        await asyncio.wait([task])

    async def _require_same_task(self, job: Job) -> None:
        """Rows are shared by the jobs of a run, so all of them must ask for the same thing."""
        new = job.request.without_keys()
        for earlier in await self.store.jobs(job.run_id):
            for part, before, now in (
                ("benchmark", _set_of_instances(earlier.request), _set_of_instances(new)),
                ("policy", earlier.request["policy"], new["policy"]),
            ):
                if before != now:
                    raise ConfigurationError(
                        f"Run {job.run_id} was started with another {part}: {_differences(before, now)}. "
                        "Its results can't be mixed: start a new run."
                    )

    async def _run(self, job: Job) -> None:
        status, error = self._ends[job.id] = await self._ended(job)
        try:
            await self._finish(job, status, error)
        except EngineBenchError as failure:
            log.error("Job %s has ended (%s) but that could not be written down: %s", job.id, status, failure)
            job.status, job.error = "failed", error or str(failure)
        finally:
            del self._running[job.id]

    async def _ended(self, job: Job) -> tuple[JobStatus, str | None]:
        """Run the job to its end, whatever that is."""
        url, headers = job.request.task_app_url, self._headers.get(job.request.task_app_url.rstrip("/"), NO_HEADERS)
        try:
            async with connect(url, job.request.task_app_api_key, headers, self._patience) as task_app:
                await JobRunner(job, self.store, task_app, self._patience, self._locks, turn=self._turn).run()
        except asyncio.CancelledError:
            return self._ends.get(job.id, ("failed", f"{INTERRUPTED}: its process was stopped."))
        except EngineBenchError as failure:
            return "failed", str(failure)
        except Exception as bug:
            log.exception("Job %s failed on an error that nobody foresaw", job.id)
            return "failed", f"{type(bug).__name__} in the eval service; its log has the details."
        return "completed", None

    async def _finish(self, job: Job, status: JobStatus, error: str | None) -> None:
        await self.store.finish_job(job.id, status, error)
        job.status, job.error, job.finished_at = status, error, datetime.now(UTC)


def _differences(before: dict[str, Any], now: dict[str, Any]) -> str:
    """In one line, whatever the values are."""

    def told(value: Any) -> str:
        return "another" if isinstance(value, dict | list) else reprlib.repr(value)

    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    return "; ".join(f"{name} {told(before.get(name))} then, {told(now.get(name))} now" for name in names)


def _set_of_instances(request: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in request["env_config"].items() if name != "others"}


@asynccontextmanager
async def serve(store: Store, patience: Patience | None = None, turn: Turn = nullcontext) -> AsyncIterator[EvalService]:
    """The embedded eval service on 127.0.0.1, for as long as the block lasts; then its jobs are ended.

    Each rollout waits for its `turn`, and holds it while the task app works on it.
    """
    # FastAPI and uvicorn cost a third of a second that only who serves should pay.
    from evals.routes import create_app  # noqa: PLC0415
    from evals.server import serve_app  # noqa: PLC0415

    service = EvalService(store, patience or Patience(), turn)
    async with serve_app(create_app(service)) as url:
        service.url = url
        try:
            yield service
        finally:
            await service.close()
