"""The results store: what became of each rollout, written the moment it is known, exactly once.

SQLite by default, or any database that SQLAlchemy reaches asynchronously and that knows `ON CONFLICT` (PostgreSQL).
"""

import json
import zlib
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidRequestError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.schema import CreateIndex, CreateTable

from core.errors import ConfigurationError, EngineBenchError, InfrastructureError
from evals.models import TERMINAL, Artifact, JobStatus, Row

SCHEMA_VERSION = 1
PREPARING = 20_260_101
"""Key of the PostgreSQL advisory lock under which the schema is made; any number that nobody else uses."""
LOCK_TIMEOUT = 30.0
"""Seconds to wait for another process that writes to the same SQLite file."""


class _UtcTime(sa.TypeDecorator[datetime]):
    """A moment in UTC; SQLite has no time zones and would give it back without one."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


_metadata = sa.MetaData()
_version = sa.Table("store_version", _metadata, sa.Column("version", sa.Integer, primary_key=True))
_jobs = sa.Table(
    "jobs",
    _metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("run_id", sa.String(200), nullable=False),
    sa.Column("request", sa.JSON, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("created_at", _UtcTime, nullable=False),
    sa.Column("finished_at", _UtcTime),
)
_rollouts = sa.Table(
    "rollouts",
    _metadata,
    sa.Column("correlation_id", sa.String(200), primary_key=True),
    sa.Column("run_id", sa.String(200), nullable=False),
    sa.Column("job_id", sa.String(64), nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("scored", sa.Boolean, nullable=False),
    sa.Column("row", sa.JSON, nullable=False),
    sa.Column("artifacts", sa.LargeBinary, nullable=False),
    sa.Column("finished_at", _UtcTime, nullable=False),
)
_indexes = (sa.Index("jobs_by_run", _jobs.c.run_id), sa.Index("rollouts_by_run", _rollouts.c.run_id))


class StoredJob(NamedTuple):
    """A job as it was last written down. `request` holds no key."""

    id: str
    run_id: str
    request: dict[str, Any]
    status: JobStatus
    error: str | None
    created_at: datetime
    finished_at: datetime | None


class Store:
    """Jobs and rollouts of any number of runs; several processes may share it.

    Every method raises InfrastructureError where the database can't be reached or written, with what to do.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._insert = sqlite.insert if engine.dialect.name == "sqlite" else postgresql.insert
        self.location = engine.url.render_as_string(hide_password=True)
        self._errors: tuple[type[Exception], ...] = (SQLAlchemyError, OSError, *_driver_errors(engine))

    async def put(self, run_id: str, job_id: str, row: Row, artifacts: Sequence[Artifact] = ()) -> None:
        """Write a finished rollout. Durable on return; a scored rollout is final, so a second call changes nothing."""
        new = self._insert(_rollouts).values(
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
        unless_scored = _rollouts.c.scored.is_(False)
        await self._write(
            new.on_conflict_do_update(index_elements=["correlation_id"], set_=replaced, where=unless_scored)
        )

    async def row(self, correlation_id: str) -> Row | None:
        """The rollout's row, None if it has not finished."""
        found = await self._read(sa.select(_rollouts.c.row).where(_rollouts.c.correlation_id == correlation_id))
        return Row.model_validate(found[0].row) if found else None

    async def rows(self, run_id: str, seeds: Collection[int] | None = None) -> list[Row]:
        """The finished rollouts of a run by seed, scored or not; only those of `seeds` where given."""
        query = sa.select(_rollouts.c.row).where(_rollouts.c.run_id == run_id).order_by(_rollouts.c.seed)
        rows = [Row.model_validate(found.row) for found in await self._read(query)]
        wanted = None if seeds is None else set(seeds)
        return [row for row in rows if wanted is None or row.seed in wanted]

    async def artifacts(self, correlation_id: str) -> list[Artifact]:
        """What the rollout left behind; empty if there is no such rollout."""
        query = sa.select(_rollouts.c.artifacts).where(_rollouts.c.correlation_id == correlation_id)
        found = await self._read(query)
        return _unpacked(found[0].artifacts) if found else []

    async def add_job(self, job_id: str, run_id: str, request: dict[str, Any]) -> None:
        """Write down a job that is about to run. `request` must hold no key."""
        now = datetime.now(UTC)
        await self._write(
            sa.insert(_jobs).values(id=job_id, run_id=run_id, request=request, status="running", created_at=now)
        )

    async def finish_job(self, job_id: str, status: JobStatus, error: str | None) -> None:
        """Write down how a job ended; the first end counts."""
        ended = _jobs.c.status.in_(TERMINAL)
        now = datetime.now(UTC)
        await self._write(
            sa.update(_jobs).where(_jobs.c.id == job_id, ~ended).values(status=status, error=error, finished_at=now)
        )

    async def job(self, job_id: str) -> StoredJob | None:
        found = await self._read(sa.select(_jobs).where(_jobs.c.id == job_id))
        return StoredJob(*found[0]) if found else None

    async def jobs(self, run_id: str) -> list[StoredJob]:
        """The jobs of a run, oldest first."""
        found = await self._read(sa.select(_jobs).where(_jobs.c.run_id == run_id).order_by(_jobs.c.created_at))
        return [StoredJob(*job) for job in found]

    async def _read(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        with self._explained():
            async with self._engine.connect() as connection:
                return (await connection.execute(query)).all()

    async def _write(self, *statements: sa.Executable) -> None:
        with self._explained():
            async with self._engine.begin() as connection:
                for statement in statements:
                    await connection.execute(statement)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what a database driver raises into our errors, with what to do and without a password."""
        try:
            yield
        except DBAPIError as error:
            raise _explanation(self.location, str(error.orig)) from None
        except self._errors as error:
            raise _explanation(self.location, f"{type(error).__name__}: {error}") from None

    async def _prepare(self) -> None:
        """Create what is missing; another process may be doing the same."""
        tables = [CreateTable(table, if_not_exists=True) for table in _metadata.sorted_tables]
        indexes = [CreateIndex(index, if_not_exists=True) for index in _indexes]
        # PostgreSQL's IF NOT EXISTS fails where two do it at once
        lock = [sa.select(sa.func.pg_advisory_xact_lock(PREPARING))] if self._engine.dialect.name != "sqlite" else []
        await self._write(*lock, *tables, *indexes)
        versions = [found.version for found in await self._read(sa.select(_version.c.version))]
        if not versions:
            await self._write(self._insert(_version).values(version=SCHEMA_VERSION).on_conflict_do_nothing())
        elif max(versions) != SCHEMA_VERSION:
            raise ConfigurationError(
                f"The results store {self.location} has schema version {max(versions)}, this engine-bench reads "
                f"{SCHEMA_VERSION}. Upgrade engine-bench, or name another store in ENGINE_BENCH_STORE_URL."
            )


@asynccontextmanager
async def open_store(url: str) -> AsyncIterator[Store]:
    """The results store at a SQLAlchemy URL, created where it is missing.

    Raises:
        ConfigurationError: the URL, the file or its schema is not one that this version can use.
        InfrastructureError: the database can't be reached.
    """
    engine = _engine(url)
    try:
        store = Store(engine)
        await store._prepare()
        yield store
    finally:
        await engine.dispose()


def _engine(url: str) -> AsyncEngine:
    remedy = "Set ENGINE_BENCH_STORE_URL to e.g. sqlite+aiosqlite:////path/rollouts.db or postgresql+asyncpg://host/db."
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise ConfigurationError(f"A results store can't be a {parsed.get_backend_name()} database. {remedy}")
        if parsed.get_backend_name() == "sqlite":
            return _sqlite_engine(parsed)
        return create_async_engine(parsed, pool_pre_ping=True)
    except (NoSuchModuleError, InvalidRequestError, ModuleNotFoundError) as error:
        raise ConfigurationError(f"No asynchronous driver for this results store: {error}. {remedy}") from None
    except ArgumentError:
        # it would quote the URL, which may hold a password
        raise ConfigurationError(f"The URL of the results store can't be read. {remedy}") from None


def _sqlite_engine(url: sa.URL) -> AsyncEngine:
    if url.database and url.database != ":memory:":
        _require_writable(Path(url.database))
    engine = create_async_engine(url, connect_args={"timeout": LOCK_TIMEOUT})
    sa.event.listen(engine.sync_engine, "connect", _make_durable)
    return engine


def _require_writable(file: Path) -> None:
    """Make the file and its folders where they are missing: SQLite would say no more than that it can't open it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.open("ab").close()
    except OSError as error:
        raise ConfigurationError(
            f"The results store {file} can't be written: {error.strerror}. "
            "Make the file and its folder writable, or name another store in ENGINE_BENCH_STORE_URL."
        ) from error


def _make_durable(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    # WAL: readers do not hold up the writer. FULL: what was committed survives a power cut.
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _driver_errors(engine: AsyncEngine) -> tuple[type[Exception], ...]:
    """What the driver raises past SQLAlchemy: asyncpg does so while it connects."""
    if engine.dialect.driver != "asyncpg":
        return ()
    import asyncpg  # type: ignore[import-untyped]  # noqa: PLC0415 - only where it is used

    return (asyncpg.PostgresError,)


def _explanation(location: str, reason: str) -> EngineBenchError:
    said = f"The results store {location} can't be used: {' '.join(reason.split()).rstrip('.')}."
    if "not a database" in reason:
        return ConfigurationError(f"{said} Move that file away, or name another store in ENGINE_BENCH_STORE_URL.")
    if "readonly" in reason or "unable to open" in reason:
        return ConfigurationError(f"{said} Make the file's folder writable, or set ENGINE_BENCH_STORE_URL.")
    if "locked" in reason:
        return InfrastructureError(
            f"{said} Another process has held it for {LOCK_TIMEOUT:.0f} s: end it and run again."
        )
    if "full" in reason:
        return InfrastructureError(f"{said} Free some disk space and run again; what was written is kept.")
    return InfrastructureError(f"{said} Check that the database runs and is reachable, then run again.")


def _packed(artifacts: Sequence[Artifact]) -> bytes:
    return zlib.compress(json.dumps([artifact.model_dump() for artifact in artifacts]).encode())


def _unpacked(packed: bytes) -> list[Artifact]:
    return [Artifact.model_validate(artifact) for artifact in json.loads(zlib.decompress(packed))]
