"""Runs one eval job: a bounded number of rollouts at a time, each written to the store before it counts."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from weakref import WeakValueDictionary

from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from core.errors import EngineBenchError
from evals.models import Artifact, JobStatus, Progress, Row, rollout_id
from evals.protocol import JobRequest, RolloutReply
from evals.rescoring import Former, former_rollout
from evals.statistics import mean_reward
from evals.store import Store
from evals.task_app_client import Patience, RolloutFailed, TaskAppClient

Turn = Callable[[], AbstractAsyncContextManager[None]]
"""What a rollout waits for before a task app is asked for it, and holds until it has answered."""


@dataclass
class Job:
    """A job as far as it is known in this process."""

    id: str
    run_id: str
    request: JobRequest
    status: JobStatus = "pending"
    error: str | None = None
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    finished_at: datetime | None = None
    rows: dict[int, Row] = field(default_factory=dict)

    def correlation_id(self, seed: int) -> str:
        """The same for every job of the run, so that none asks for a rollout that another has asked for already."""
        return rollout_id(self.run_id, seed)

    @property
    def progress(self) -> Progress:
        done = self.rows.values()
        return Progress(completed=len(done), total=len(self.request.seeds), mean_reward=mean_reward(done))


class RolloutLocks:
    """Lets one job at a time ask for a rollout; a second one finds its result in the store afterwards."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._closed_to_others: set[str] = set()

    def of(self, correlation_id: str) -> asyncio.Lock:
        return self._locks.setdefault(correlation_id, asyncio.Lock())

    def is_held(self, correlation_id: str) -> bool:
        """Whether some job works on this rollout right now."""
        lock = self._locks.get(correlation_id)
        return lock is not None and lock.locked()

    def close_to_others(self, correlation_id: str) -> None:
        """From now on this rollout is the business of its own job alone."""
        self._closed_to_others.add(correlation_id)

    def is_closed_to_others(self, correlation_id: str) -> bool:
        """Whether a job that may take over rollouts is to leave this one: it has a score, or another job has tried it
        in vain, and each try is paid for. What the store knows beyond that counts as well."""
        return correlation_id in self._closed_to_others


class JobRunner:
    """Runs the rollouts of one job that the store does not have yet."""

    def __init__(
        self,
        job: Job,
        store: Store,
        task_app: TaskAppClient,
        patience: Patience,
        locks: RolloutLocks,
        *,
        turn: Turn,
    ) -> None:
        self._job = job
        self._store = store
        self._task_app = task_app
        self._patience = patience
        self._locks = locks
        self._turn = turn
        self._own = frozenset(job.request.seeds)

    async def run(self) -> None:
        """Returns once there is a row for each seed.

        Raises:
            EngineBenchError: no further rollout makes sense (the task app is gone or refuses, the store is full...).
                The rows so far are kept.
        """
        await self._serve_stored_rows()
        others = self._job.request.env_config.others
        own = [seed for seed in self._job.request.seeds if seed not in self._job.rows]
        done = {row.seed for row in await self._store.rows(self._job.run_id, others) if row.reward is not None}
        queue = [*own, *(seed for seed in others if seed not in done)]
        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(self._job.request.max_concurrent, len(queue))):
                    workers.create_task(self._work(queue))
        except BaseExceptionGroup as group:
            expected, bugs = group.split(EngineBenchError)
            if bugs or expected is None:
                raise
            raise expected.exceptions[0] from None
        await self._serve_what_others_scored()

    async def _serve_stored_rows(self) -> None:
        for row in await self._store.rows(self._job.run_id, self._job.request.seeds):
            if not row.infrastructure_failure:
                self._job.rows[row.seed] = row

    async def _serve_what_others_scored(self) -> None:
        """What failed here may have been taken over since, with more luck; what is being tried is waited for."""
        for seed, row in list(self._job.rows.items()):
            if row.infrastructure_failure:
                async with self._locks.of(row.correlation_id):
                    stored = await self._store.row(row.correlation_id)
                self._job.rows[seed] = stored or row

    async def _work(self, queue: list[int]) -> None:
        """Take seeds that nobody works on until there are none, then wait for those of our own that others work on."""
        while (seed := self._take(queue)) is not None:
            await self._settle(seed)
        for seed in self._job.request.seeds:
            if seed not in self._job.rows:
                await self._settle(seed)

    def _take(self, queue: list[int]) -> int | None:
        for seed in tuple(queue):
            correlation_id = self._job.correlation_id(seed)
            if seed not in self._own and self._locks.is_closed_to_others(correlation_id):
                queue.remove(seed)
            elif not self._locks.is_held(correlation_id):
                queue.remove(seed)
                return seed
        return None

    async def _settle(self, seed: int) -> None:
        async with self._locks.of(self._job.correlation_id(seed)):
            row = self._job.rows.get(seed) or await self._finished(seed)
        if row.reward is not None or seed not in self._own:
            self._locks.close_to_others(self._job.correlation_id(seed))
        if seed in self._own:
            self._job.rows[seed] = row

    async def _finished(self, seed: int) -> Row:
        """The rollout's row, written down."""
        stored = await self._store.row(self._job.correlation_id(seed))
        if stored and not stored.infrastructure_failure:
            return stored
        former = await self._former(seed)
        if former and former.code is None:
            row = former.row.model_copy(update={"correlation_id": self._job.correlation_id(seed)})
            await self._write_down(row, [])
            return row
        async with self._turn():
            row, artifacts = await self._performed(seed, former)
            await self._write_down(row, artifacts)
        return row

    async def _performed(self, seed: int, former: Former | None) -> tuple[Row, list[Artifact]]:
        """The rollout's row and what it left behind, whether it could be scored or not."""
        started = time.monotonic()
        try:
            reply = await self._ask_until_scored(seed, former)
            return reply.row(seed, _milliseconds_since(started)), reply.artifacts()
        except RolloutFailed as failure:
            row = self._unscored(seed, failure, _milliseconds_since(started))
            return row, failure.reply.artifacts() if failure.reply else []

    async def _former(self, seed: int) -> Former | None:
        """What is to be graded again, None where an agent is to run."""
        source = self._job.request.env_config.rescore
        return await former_rollout(self._store, source, seed) if source else None

    async def _write_down(self, row: Row, artifacts: list[Artifact]) -> None:
        """Also when the job is cancelled meanwhile: what has finished must not be lost."""
        writing = asyncio.create_task(self._store.put(self._job.run_id, self._job.id, row, artifacts))
        try:
            await asyncio.shield(writing)
        finally:
            await asyncio.wait([writing])

    async def _ask_until_scored(self, seed: int, former: Former | None) -> RolloutReply:
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(RolloutFailed),
            stop=stop_after_attempt(self._patience.retries + 1),
            wait=wait_random_exponential(multiplier=self._patience.backoff, max=20 * self._patience.backoff),
            reraise=True,
        )
        return await retrying(self._ask, seed, former)

    async def _ask(self, seed: int, former: Former | None) -> RolloutReply:
        correlation_id, timeout = self._job.correlation_id(seed), self._job.request.timeout
        try:
            async with asyncio.timeout(timeout):
                return await self._task_app.rollout(self._rollout_request(seed, former))
        except TimeoutError:
            await self._task_app.cancel(correlation_id)
            raise RolloutFailed("timeout", f"The rollout did not end within {timeout:g} s.") from None
        except asyncio.CancelledError:
            await self._task_app.cancel(correlation_id)
            raise

    def _rollout_request(self, seed: int, former: Former | None) -> dict[str, Any]:
        """Body of `POST /rollout`."""
        request, correlation_id = self._job.request, self._job.correlation_id(seed)
        return {
            "trace_correlation_id": correlation_id,
            "env": {
                "env_name": request.env_name,
                "config": request.env_config.model_dump(exclude={"others", "rescore"}),
                "seed": seed,
            },
            **({"submission": former.code} if former else {}),
            "policy": {"config": request.policy},
            "on_done": "reset",
            "safety": {"max_time_s": request.timeout},
        }

    def _unscored(self, seed: int, failure: RolloutFailed, latency_ms: float) -> Row:
        if failure.reply:
            return failure.reply.row(seed, latency_ms)
        known = {name: self._job.request.policy.get(name) for name in ("agent", "model")}
        correlation_id = self._job.correlation_id(seed)
        return Row.infrastructure(seed, correlation_id, failure.kind, str(failure), latency_ms=latency_ms, **known)


def _milliseconds_since(started: float) -> float:
    return (time.monotonic() - started) * 1000
