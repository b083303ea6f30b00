"""The results store: what became of each rollout, written the moment it is known, exactly once.

SQLite by default, or any database that SQLAlchemy reaches asynchronously and that knows `ON CONFLICT` (PostgreSQL).
"""

import json
import zlib
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy as sa

from evals.database import Database
from evals.models import TERMINAL, Artifact, JobStatus, Row
from evals.schema import jobs, rollouts, runs

MOST_VARIABLES = 500
"""Of one statement; the least that a database of ours allows is 999."""


class StoredJob(NamedTuple):
    """A job as it was last written down. `request` holds no key."""

    id: str
    run_id: str
    request: dict[str, Any]
    status: JobStatus
    error: str | None
    created_at: datetime
    finished_at: datetime | None


class StoredRun(NamedTuple):
    """A run: what was asked for, and its result document once it has ended."""

    id: str
    name: str
    series: str
    """What it is compared with: runs of one series are alike in all that bears on what is measured."""
    content_hash: str
    """Of the benchmark: scores of another content are not to be mixed with its own."""
    parameters: dict[str, Any]
    document: dict[str, Any] | None
    created_at: datetime


class Store:
    """Jobs and rollouts of any number of runs; several processes may share it.

    Every method raises InfrastructureError where the database can't be reached or written, with what to do.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.location = database.location
        """The database's URL, without a password."""

    async def put(self, run_id: str, job_id: str, row: Row, artifacts: Sequence[Artifact] = ()) -> None:
        """Write a finished rollout. Durable on return; a scored rollout is final, so a second call changes nothing."""
        new = self._database.insert(rollouts).values(
            correlation_id=row.correlation_id,
            run_id=run_id,
            job_id=job_id,
            seed=row.seed,
            scored=not row.infrastructure_failure,
            row=row.model_dump(mode="json"),
            artifacts=_packed(artifacts),
            finished_at=datetime.now(UTC),
        )
        replaced = {c.name: c for c in new.excluded if c.name != "correlation_id"}
        unless_scored = rollouts.c.scored.is_(False)
        await self._database.write(
            new.on_conflict_do_update(index_elements=["correlation_id"], set_=replaced, where=unless_scored)
        )

    async def row(self, correlation_id: str) -> Row | None:
        """The rollout's row, None if it has not finished."""
        found = await self._database.read(sa.select(rollouts.c.row).where(rollouts.c.correlation_id == correlation_id))
        return Row.model_validate(found[0].row) if found else None

    async def rows(self, run_id: str, seeds: Collection[int] | None = None) -> list[Row]:
        """The finished rollouts of a run by seed, scored or not; only those of `seeds` where given."""
        query = sa.select(rollouts.c.row).where(rollouts.c.run_id == run_id).order_by(rollouts.c.seed)
        if seeds is not None and len(seeds) <= MOST_VARIABLES:
            query = query.where(rollouts.c.seed.in_(seeds))
        rows = [Row.model_validate(found.row) for found in await self._database.read(query)]
        wanted = None if seeds is None else set(seeds)
        return [row for row in rows if wanted is None or row.seed in wanted]

    async def artifacts(self, correlation_id: str) -> list[Artifact]:
        """What the rollout left behind; empty if there is no such rollout."""
        query = sa.select(rollouts.c.artifacts).where(rollouts.c.correlation_id == correlation_id)
        found = await self._database.read(query)
        return _unpacked(found[0].artifacts) if found else []

    async def add_job(self, job_id: str, run_id: str, request: dict[str, Any]) -> None:
        """Write down a job that is about to run. `request` must hold no key."""
        now = datetime.now(UTC)
        await self._database.write(
            sa.insert(jobs).values(id=job_id, run_id=run_id, request=request, status="running", created_at=now)
        )

    async def finish_job(self, job_id: str, status: JobStatus, error: str | None) -> None:
        """Write down how a job ended; the first end counts."""
        ended = jobs.c.status.in_(TERMINAL)
        now = datetime.now(UTC)
        await self._database.write(
            sa.update(jobs).where(jobs.c.id == job_id, ~ended).values(status=status, error=error, finished_at=now)
        )

    async def job(self, job_id: str) -> StoredJob | None:
        found = await self._database.read(sa.select(jobs).where(jobs.c.id == job_id))
        return StoredJob(*found[0]) if found else None

    async def jobs(self, run_id: str) -> list[StoredJob]:
        """The jobs of a run, oldest first."""
        found = await self._database.read(sa.select(jobs).where(jobs.c.run_id == run_id).order_by(jobs.c.created_at))
        return [StoredJob(*job) for job in found]

    async def begin_run(self, run: StoredRun) -> StoredRun:
        """Write down a run that is about to begin; returns it as it began first, should it have begun before."""
        new = self._database.insert(runs).values(run._asdict())
        await self._database.write(new.on_conflict_do_nothing(index_elements=["id"]))
        found = await self._database.read(sa.select(runs).where(runs.c.id == run.id))
        return StoredRun(*found[0])

    async def conclude_run(self, run_id: str, document: dict[str, Any]) -> None:
        """Write down the result document of a run."""
        await self._database.write(sa.update(runs).where(runs.c.id == run_id).values(document=document))

    async def find_run(self, wanted: str) -> StoredRun | None:
        """The run with this name or id, or the only one whose name or id begins so."""
        query = sa.select(runs).where(sa.or_(runs.c.name.startswith(wanted), runs.c.id.startswith(wanted))).limit(2)
        found = [StoredRun(*run) for run in await self._database.read(query)]
        exact = [run for run in found if wanted in (run.name, run.id)]
        return exact[0] if exact else found[0] if len(found) == 1 else None

    async def last_run(self) -> StoredRun | None:
        """The run that began last."""
        found = await self._database.read(sa.select(runs).order_by(runs.c.created_at.desc()).limit(1))
        return StoredRun(*found[0]) if found else None

    async def previous_run(self, run_id: str) -> StoredRun | None:
        """The last run of the same series that began before this one, has ended, and has a scored rollout."""
        # what has no document is a run that never ended: NULL, or JSON's null where an earlier version wrote it
        ended = sa.cast(runs.c.document, sa.Text) != "null"
        has_score = sa.exists().where(rollouts.c.run_id == runs.c.id, rollouts.c.scored)
        this = sa.select(runs.c.series, runs.c.created_at).where(runs.c.id == run_id).subquery()
        query = (
            sa.select(runs)
            .where(runs.c.series == this.c.series, runs.c.created_at < this.c.created_at, ended, has_score)
            .order_by(runs.c.created_at.desc())
            .limit(1)
        )
        found = await self._database.read(query)
        return StoredRun(*found[0]) if found else None


@asynccontextmanager
async def open_store(url: str) -> AsyncIterator[Store]:
    """The results store at a SQLAlchemy URL, created where it is missing.

    Raises:
        ConfigurationError: the URL, the file or its schema is not one that this version can use.
        InfrastructureError: the database can't be reached.
    """
    database = Database(url)
    try:
        await database.prepare()
        yield Store(database)
    finally:
        await database.close()


def _packed(artifacts: Sequence[Artifact]) -> bytes:
    return zlib.compress(json.dumps([artifact.model_dump() for artifact in artifacts]).encode())


def _unpacked(packed: bytes) -> list[Artifact]:
    return [Artifact.model_validate(artifact) for artifact in json.loads(zlib.decompress(packed))]
