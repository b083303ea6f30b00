"""What an agent may write is bounded, and who writes more is ended with all that it has started."""

import asyncio
import functools
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from task_app import disk, rollout
from task_app.agents import AgentContext, AgentOutcome
from task_app.agents.workplace import Workplace
from task_app.benchmarks import Task
from task_app.contracts import PolicyConfig
from task_app.disk import DiskExceeded, bounded, size_of
from tests.task_app import serving
from tests.task_app.grading_fixtures import open_directory

MIB = 1 << 20
FILL = "echo 'Hello, world!' > hello.txt; for i in $(seq 64); do head -c 1000000 /dev/zero > $i; done; sleep 86431"


@pytest.fixture
def home() -> Iterator[Path]:
    with open_directory() as directory:
        yield directory


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "_PAUSE", 0.05)


async def test_work_that_stays_within_the_limit_has_its_result(tmp_path: Path) -> None:
    async def work() -> int:
        (tmp_path / "file").write_bytes(bytes(MIB))
        await asyncio.sleep(0)
        return 7

    assert await bounded(work(), tmp_path, 2 * MIB) == 7


async def test_work_that_fails_fails_as_it_did(tmp_path: Path) -> None:
    async def work() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await bounded(work(), tmp_path)


async def test_work_that_exceeds_the_limit_is_ended_first(tmp_path: Path) -> None:
    ended = []

    async def work() -> None:
        for number in range(3):
            (tmp_path / str(number)).write_bytes(bytes(MIB))
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    with pytest.raises(DiskExceeded, match="GiB to its workspace"):
        await bounded(work(), tmp_path, 2 * MIB)
    assert ended == [True]


async def test_being_cancelled_ends_the_work(tmp_path: Path) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(bounded(work(), tmp_path))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


def test_empty_files_take_up_room_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/up").symlink_to("/")
    for number in range(100):
        (tmp_path / "deep" / str(number)).touch()
    assert 100 * 1024 <= size_of(tmp_path) < MIB


class Filler:
    name = "filler"
    description = "fills the disk, having done its work"
    uses_reference = False

    async def run(self, task: Task, policy: PolicyConfig, context: AgentContext) -> AgentOutcome:
        place = await Workplace.open(task, context, [])
        await asyncio.to_thread(place.furnish, {})
        await place.run(["bash", "-c", FILL], timeout=policy.timeout)
        return AgentOutcome()


async def test_an_agent_that_fills_the_disk_is_ended(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it has written until then stands, as with one whose time is up; nothing of it is left."""
    monkeypatch.setattr(rollout, "bounded", functools.partial(bounded, limit=16 * MIB))
    async with serving.serving(serving.settings(home / "work"), {"filler": Filler()}) as client:
        reply = (await client.post("/rollout", json=serving.rollout("one", "filler"))).json()
    assert reply["reward_info"]["outcome_reward"] == 1.0
    assert not any("86431" in (process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
    assert list((home / "work/rollouts").iterdir()) == []
