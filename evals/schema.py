"""The tables of the results store."""

from datetime import UTC, datetime

import sqlalchemy as sa

SCHEMA_VERSION = 1


class UtcTime(sa.TypeDecorator[datetime]):
    """A moment in UTC; SQLite has no time zones and would give it back without one."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


metadata = sa.MetaData()
version = sa.Table("store_version", metadata, sa.Column("version", sa.Integer, primary_key=True))
jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("run_id", sa.String(200), nullable=False),
    sa.Column("request", sa.JSON, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("finished_at", UtcTime),
)
rollouts = sa.Table(
    "rollouts",
    metadata,
    sa.Column("correlation_id", sa.String(200), primary_key=True),
    sa.Column("run_id", sa.String(200), nullable=False),
    sa.Column("job_id", sa.String(64), nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("scored", sa.Boolean, nullable=False),
    sa.Column("row", sa.JSON, nullable=False),
    sa.Column("artifacts", sa.LargeBinary, nullable=False),
    sa.Column("finished_at", UtcTime, nullable=False),
)
runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.String(200), primary_key=True),
    sa.Column("name", sa.String(200), nullable=False, unique=True),
    sa.Column("series", sa.String(500), nullable=False),
    sa.Column("content_hash", sa.String(64), nullable=False),
    sa.Column("parameters", sa.JSON, nullable=False),
    sa.Column("document", sa.JSON(none_as_null=True)),
    sa.Column("created_at", UtcTime, nullable=False),
)
indexes = (
    sa.Index("jobs_by_run", jobs.c.run_id),
    sa.Index("rollouts_by_run", rollouts.c.run_id),
    sa.Index("runs_by_series", runs.c.series, runs.c.created_at),
)
