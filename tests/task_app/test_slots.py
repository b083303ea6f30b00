"""Slots: leased one at a time, reset before anyone else gets them, made anew where they can't be trusted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from task_app.errors import InfrastructureFailure
from task_app.isolation import Isolation, Level
from task_app.slots import Slot, SlotPool, digests
from tests.task_app.grading_fixtures import CARD_FILE, STUB, write_scaffold


class Builds:
    """Stands in for a compile: counts, and leaves something in the target directory."""

    def __init__(self) -> None:
        self.slots: list[str] = []
        self.disk_is_full = False

    async def __call__(self, slot: Slot) -> None:
        if self.disk_is_full:
            raise InfrastructureFailure("No space left on device")
        self.slots.append(slot.path.name)
        await asyncio.to_thread(_write_target, slot.path)


async def _nothing_to_prepare(_scaffold: Path) -> None:
    """The crate has no dependencies."""


def _write_target(folder: Path) -> None:
    (folder / "target").mkdir()
    (folder / "target/built").write_text("warm")


@asynccontextmanager
async def pool_of(count: int, level: Level, folder: Path, builds: Builds) -> AsyncIterator[SlotPool]:
    scaffold = write_scaffold(folder / "scaffold")
    pool = SlotPool(scaffold, folder / "work", count, Isolation(level), prepare=_nothing_to_prepare, build=builds)
    await pool.warm()
    yield pool
    await pool.close()
    assert not (folder / "work").exists()


@pytest.mark.parametrize(("level", "built"), [(Level.NAMESPACE, ["template"]), (Level.PROCESS, ["slot-0", "slot-1"])])
async def test_builds_once_where_all_slots_have_the_same_path(tmp_path: Path, level: Level, built: list[str]) -> None:
    builds = Builds()
    async with pool_of(2, level, tmp_path, builds) as pool, pool.lease() as one, pool.lease() as other:
        assert builds.slots == built
        assert one.path != other.path
        assert (one.path / "target/built").read_text() == (other.path / "target/built").read_text() == "warm"


async def test_a_slot_has_one_holder_at_a_time(tmp_path: Path) -> None:
    async with pool_of(1, Level.PROCESS, tmp_path, Builds()) as pool:
        async with pool.lease():
            waiting = asyncio.create_task(_hold(pool))
            await asyncio.sleep(0)
            assert not waiting.done()
        await asyncio.wait_for(waiting, 10)


async def _hold(pool: SlotPool) -> Path:
    async with pool.lease() as slot:
        return slot.path


async def _spoil(pool: SlotPool) -> None:
    async with pool.lease() as slot:
        slot.place({CARD_FILE: "changed"})
        (slot.path / "target/built").write_text("half")
        raise RuntimeError


async def test_what_was_placed_is_gone_for_the_next_one(tmp_path: Path) -> None:
    builds = Builds()
    async with pool_of(1, Level.PROCESS, tmp_path, builds) as pool:
        async with pool.lease() as slot:
            slot.place({CARD_FILE: "changed", "src/new/file.rs": "new"})
            assert (slot.path / CARD_FILE).read_text() == "changed"
        async with pool.lease() as slot:
            assert (slot.path / CARD_FILE).read_text() == STUB
            assert not (slot.path / "src/new/file.rs").exists()
            assert slot.is_pristine()
    assert builds.slots == ["slot-0"], "a reset needs no build"


async def test_times_of_files_go_forward_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cargo takes a file that is older than its last build for unchanged, also after the clock was set back."""
    async with pool_of(1, Level.PROCESS, tmp_path, Builds()) as pool, pool.lease() as slot:
        slot.place({CARD_FILE: "one"})
        first = (slot.path / CARD_FILE).stat().st_mtime_ns
        monkeypatch.setattr("task_app.slots.time.time_ns", lambda: first - 10**12)
        slot.reset()
        second = (slot.path / CARD_FILE).stat().st_mtime_ns
        slot.place({CARD_FILE: "two"})
        assert first < second < (slot.path / CARD_FILE).stat().st_mtime_ns


@pytest.mark.parametrize("level", [Level.NAMESPACE, Level.PROCESS])
async def test_a_slot_whose_holder_was_stopped_is_made_anew(tmp_path: Path, level: Level) -> None:
    async with pool_of(1, level, tmp_path, Builds()) as pool:
        with pytest.raises(RuntimeError):
            await _spoil(pool)
        async with pool.lease() as slot:
            assert (slot.path / "target/built").read_text() == "warm"
            assert slot.is_pristine()


async def test_a_slot_that_was_tampered_with_is_made_anew(tmp_path: Path) -> None:
    builds = Builds()
    async with pool_of(1, Level.PROCESS, tmp_path, builds) as pool:
        async with pool.lease() as slot:
            (slot.path / "build.rs").write_text("fn main() {}")
        async with pool.lease() as slot:
            assert slot.is_pristine()
    assert builds.slots == ["slot-0", "slot-0"]


async def test_a_slot_that_could_not_be_made_anew_is_given_to_nobody_until_it_could(tmp_path: Path) -> None:
    """Else whatever is submitted next would not compile in what is left of it, and score 0."""
    builds = Builds()
    async with pool_of(1, Level.PROCESS, tmp_path, builds) as pool:
        builds.disk_is_full = True
        with pytest.raises(RuntimeError):
            await _spoil(pool)
        for _ in range(2):
            with pytest.raises(InfrastructureFailure, match="No space left"):
                await _hold(pool)
        builds.disk_is_full = False
        async with pool.lease() as slot:
            assert slot.is_pristine()
            assert (slot.path / "target/built").read_text() == "warm"


async def test_a_slot_that_can_not_be_reset_takes_no_grade_with_it(tmp_path: Path) -> None:
    builds = Builds()
    async with pool_of(1, Level.PROCESS, tmp_path, builds) as pool:
        async with pool.lease() as slot:
            (slot.path / "build.rs").write_text("fn main() {}")
            builds.disk_is_full = True
            graded = True
        assert graded


async def test_the_scaffold_may_change_after_warming(tmp_path: Path) -> None:
    async with pool_of(1, Level.PROCESS, tmp_path, Builds()) as pool:
        (tmp_path / "scaffold/src/lib.rs").write_text("changed")
        with pytest.raises(RuntimeError):
            await _spoil(pool)
        async with pool.lease() as slot:
            assert (slot.path / "src/lib.rs").read_text() != "changed"


def test_a_link_counts_as_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("content")
    (tmp_path / "target").mkdir()
    (tmp_path / "target/ignored").write_text("")
    before = digests(tmp_path)
    (tmp_path / "a").rename(tmp_path / "target/a")
    (tmp_path / "a").symlink_to("target/a")
    assert before.keys() == digests(tmp_path).keys() == {"a"}
    assert before != digests(tmp_path)
