"""The results store: exactly once, durable, and clear about what is wrong with it."""

import asyncio
import sqlite3
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.errors import ConfigurationError, InfrastructureError
from evals import database
from evals.models import Artifact, Row
from evals.schema import SCHEMA_VERSION
from evals.store import Store, StoredRun, open_store

SCORED = Row(seed=3, correlation_id="run-3", instance="i", reward=0.0)
BETTER = SCORED.model_copy(update={"reward": 1.0})
FAILED = Row.infrastructure(3, "run-3", "timeout", "It did not end.")


async def test_a_rollout_comes_back_as_it_was_written(store: Store) -> None:
    artifacts = [
        Artifact(name="final.rs", content="fn main() {}"),
        Artifact(name="agent.log", content="ünïcode\n" * 999),
    ]
    await store.put("run", "eval-1", SCORED, artifacts)

    assert await store.row("run-3") == SCORED
    assert await store.rows("run") == [SCORED]
    assert await store.rows("run", seeds=[1, 2]) == []
    assert await store.rows("other") == []
    assert await store.artifacts("run-3") == artifacts
    assert await store.row("run-4") is None
    assert await store.artifacts("run-4") == []


@pytest.mark.parametrize(
    ("writes", "kept"),
    [
        ([SCORED, BETTER], 0),
        ([SCORED, FAILED], 0),
        ([FAILED, SCORED], 1),
        ([FAILED, SCORED, FAILED, BETTER], 1),
        ([FAILED, FAILED], 1),
    ],
)
async def test_a_score_is_final_and_replaces_a_failure(store: Store, writes: list[Row], kept: int) -> None:
    files = [Artifact(name="number", content=str(number)) for number in range(len(writes))]
    for row, file in zip(writes, files, strict=True):
        await store.put("run", "eval-1", row, [file])
    assert await store.rows("run") == [writes[kept]]
    assert await store.artifacts("run-3") == [files[kept]]


async def test_many_writers_at_once_lose_nothing(store: Store, store_url: str) -> None:
    async with open_store(store_url) as other:
        rows = [Row(seed=seed, correlation_id=f"run-{seed}", reward=1.0) for seed in range(40)]
        await asyncio.gather(*(writer.put("run", "eval", row) for row in rows for writer in (store, other)))
        assert await other.rows("run") == rows


async def test_a_job_is_remembered_with_how_it_ended_first(store: Store) -> None:
    await store.add_job("eval-1", "run", {"seeds": [1]})
    running = await store.job("eval-1")
    await store.finish_job("eval-1", "failed", "interrupted")
    await store.finish_job("eval-1", "completed", None)
    ended = await store.job("eval-1")

    assert running is not None
    assert ended is not None
    assert (running.status, running.request, running.finished_at) == ("running", {"seeds": [1]}, None)
    assert (ended.status, ended.error) == ("failed", "interrupted")
    assert ended.finished_at is not None
    assert ended.finished_at >= running.created_at
    assert await store.jobs("run") == [ended]
    assert await store.job("eval-2") is None


WRITER = """
import asyncio, sys
from evals.models import Artifact, Row
from evals.store import open_store

async def main():
    async with open_store(sys.argv[1]) as store:
        for seed in range(1_000_000):
            row = Row(seed=seed, correlation_id=f"run-{seed}", reward=1.0)
            await store.put("run", "eval", row, [Artifact(name="log", content="x" * 10_000)])
            print(seed, flush=True)

asyncio.run(main())
"""


async def _python(code: str, *arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(sys.executable, "-c", code, *arguments, stdout=pipe, stderr=pipe)


async def test_what_a_killed_writer_reported_as_written_is_there(store_url: str) -> None:
    writer = await _python(WRITER, store_url)
    assert writer.stdout is not None
    for _ in range(25):
        await writer.stdout.readline()
    writer.kill()
    rest, _ = await writer.communicate()
    reported = 25 + len(rest.splitlines())

    async with open_store(store_url) as store:
        found = await store.rows("run")
        assert [row.seed for row in found[:reported]] == list(range(reported))
        for row in found:
            assert len(await store.artifacts(row.correlation_id)) == 1


OPENER = """
import asyncio, sys
from evals.store import open_store

async def main():
    async with open_store(sys.argv[1]):
        pass

asyncio.run(main())
"""


async def test_processes_that_open_a_new_store_at_once_do_not_collide(store_url: str) -> None:
    openers = [await _python(OPENER, store_url) for _ in range(4)]
    errors = [(await opener.communicate())[1].decode() for opener in openers]
    assert [opener.returncode for opener in openers] == [0, 0, 0, 0], errors


async def test_folders_are_made(tmp_path: Path) -> None:
    async with open_store(f"sqlite+aiosqlite:///{tmp_path / 'a' / 'b' / 'rollouts.db'}") as store:
        await store.put("run", "eval", SCORED)
    assert (tmp_path / "a" / "b" / "rollouts.db").exists()


async def _open(url: str) -> None:
    async with open_store(url):
        pass


async def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, store_url: str) -> None:
    file = tmp_path / "rollouts.db"
    file.write_text("my precious notes\n" * 100)
    with pytest.raises(ConfigurationError, match=r"not a database.*Move that file away"):
        await _open(store_url)
    assert file.read_text().startswith("my precious notes")


async def test_a_newer_schema_is_not_touched(tmp_path: Path, store_url: str) -> None:
    await _open(store_url)
    with sqlite3.connect(tmp_path / "rollouts.db") as connection:
        connection.execute("UPDATE store_version SET version = ?", (SCHEMA_VERSION + 1,))
    with pytest.raises(ConfigurationError, match="Upgrade engine-bench"):
        await _open(store_url)


async def test_a_store_locked_by_another_process_is_said_to_be(
    tmp_path: Path, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_TIMEOUT", 0.1)
    async with open_store(store_url) as store:
        other = sqlite3.connect(tmp_path / "rollouts.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(InfrastructureError, match=r"locked.*Another process"):
            await store.put("run", "eval", SCORED)
        other.rollback()
        other.close()
        await store.put("run", "eval", SCORED)
        assert await store.rows("run") == [SCORED]


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("postgresql+asyncpg://me:s3cret-word@127.0.0.1:9/db", InfrastructureError, "Check that the database runs"),
        ("sqlite:////tmp/rollouts.db", ConfigurationError, "No asynchronous driver"),
        ("mysql+aiomysql://me:s3cret-word@127.0.0.1/db", ConfigurationError, "can't be a mysql database"),
        ("postgresql+nodriver://me:s3cret-word@127.0.0.1/db", ConfigurationError, "No asynchronous driver"),
        ("s3cret-word", ConfigurationError, "can't be read"),
        ("sqlite+aiosqlite:////dev/null/rollouts.db", ConfigurationError, "writable"),
        ("sqlite+aiosqlite:////dev", ConfigurationError, "writable"),
    ],
)
async def test_what_can_not_be_a_store_is_explained(url: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        await _open(url)
    assert "s3cret-word" not in repr(raised.value)
    assert raised.value.__cause__ is None or "s3cret-word" not in repr(raised.value.__cause__)


async def _night(store: Store, name: str, *, reward: float | None = 0.8, ended: bool = True) -> None:
    """A run of the one series, which has scored one rollout or failed at it."""
    began = datetime(2026, 1, int(name), tzinfo=UTC)
    await store.begin_run(StoredRun(name, name, "series", "hash", {}, None, began))
    if reward is None:
        await store.put(name, "eval", Row.infrastructure(0, f"{name}-0", "outage", "Nobody answers."))
    else:
        await store.put(name, "eval", Row(seed=0, correlation_id=f"{name}-0", reward=reward))
    if ended:
        await store.conclude_run(name, {"run": name})


async def test_a_run_is_compared_with_the_last_one_that_scored_and_ended(store: Store, tmp_path: Path) -> None:
    await _night(store, "01")
    await _night(store, "02")
    await _night(store, "03", reward=None)
    await _night(store, "04", ended=False)
    await _night(store, "05", ended=False)
    with sqlite3.connect(tmp_path / "rollouts.db") as connection:
        connection.execute("UPDATE runs SET document = 'null' WHERE id = '05'")  # as it was written once
    await _night(store, "06")
    found = await store.previous_run("06")
    assert found is not None
    assert found.id == "02"
    assert await store.previous_run("01") is None
