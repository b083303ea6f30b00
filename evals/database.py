"""The database under the results store: connecting, the schema, and errors that say what to do."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidRequestError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.schema import CreateIndex, CreateTable

from core.errors import ConfigurationError, EngineBenchError, InfrastructureError
from evals import schema

PREPARING = 20_260_101
"""Key of the PostgreSQL advisory lock under which the schema is made; any number that nobody else uses."""
LOCK_TIMEOUT = 30.0
"""Seconds to wait for another process that writes to the same SQLite file."""
_POOL = {"pool_size": 4, "max_overflow": 0, "pool_timeout": None}
"""With many lanes, who has something to write waits for its turn, however long those before take."""


class Database:
    """One database at a SQLAlchemy URL.

    Every method raises InfrastructureError where it can't be reached or written, with what to do.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        self.insert = sqlite.insert if self._engine.dialect.name == "sqlite" else postgresql.insert
        self.location = self._engine.url.render_as_string(hide_password=True)
        self._errors: tuple[type[Exception], ...] = (SQLAlchemyError, OSError, *_driver_errors(self._engine))

    async def close(self) -> None:
        await self._engine.dispose()

    async def read(self, query: sa.Select[Any]) -> Sequence[sa.Row[Any]]:
        with self._explained():
            async with self._engine.connect() as connection:
                return (await connection.execute(query)).all()

    async def write(self, *statements: sa.Executable) -> None:
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

    async def prepare(self) -> None:
        """Create what is missing; another process may be doing the same."""
        tables = [CreateTable(table, if_not_exists=True) for table in schema.metadata.sorted_tables]
        indexes = [CreateIndex(index, if_not_exists=True) for index in schema.indexes]
        # PostgreSQL's IF NOT EXISTS fails where two do it at once
        lock = [sa.select(sa.func.pg_advisory_xact_lock(PREPARING))] if self._engine.dialect.name != "sqlite" else []
        await self.write(*lock, *tables, *indexes)
        versions = [found.version for found in await self.read(sa.select(schema.version.c.version))]
        if not versions:
            await self.write(self.insert(schema.version).values(version=schema.SCHEMA_VERSION).on_conflict_do_nothing())
        elif max(versions) != schema.SCHEMA_VERSION:
            raise ConfigurationError(
                f"The results store {self.location} has schema version {max(versions)}, this engine-bench reads "
                f"{schema.SCHEMA_VERSION}. Upgrade engine-bench, or name another store in ENGINE_BENCH_STORE_URL."
            )


def _engine(url: str) -> AsyncEngine:
    remedy = "Set ENGINE_BENCH_STORE_URL to e.g. sqlite+aiosqlite:////path/rollouts.db or postgresql+asyncpg://host/db."
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise ConfigurationError(f"A results store can't be a {parsed.get_backend_name()} database. {remedy}")
        if parsed.get_backend_name() == "sqlite":
            return _sqlite_engine(parsed)
        return create_async_engine(parsed, pool_pre_ping=True, **_POOL)
    except (NoSuchModuleError, InvalidRequestError, ModuleNotFoundError) as error:
        raise ConfigurationError(f"No asynchronous driver for this results store: {error}. {remedy}") from None
    except ArgumentError:
        # it would quote the URL, which may hold a password
        raise ConfigurationError(f"The URL of the results store can't be read. {remedy}") from None


def _sqlite_engine(url: sa.URL) -> AsyncEngine:
    if url.database and url.database != ":memory:":
        _require_writable(Path(url.database))
    engine = create_async_engine(url, connect_args={"timeout": LOCK_TIMEOUT}, **_POOL)
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
