"""The build cache: what it keeps, for whom, for how long, and who can't reach it."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from task_app.build_cache import BuildCache
from task_app.grading import Grader
from task_app.isolation import Isolation, Jail, Level
from task_app.slots import Slot, SlotPool
from tests import synthetic
from tests.task_app.grading_fixtures import GOLD, open_directory, submission, write_scaffold


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_directory() as directory:
        yield directory


def entry(cache: BuildCache, name: str, size: int, used_at: float) -> None:
    assert cache.folder is not None
    (cache.folder / name).mkdir(parents=True)
    (cache.folder / name / "content").write_bytes(b"x" * size)
    os.utime(cache.folder / name, (used_at, used_at))


async def test_an_entry_comes_back_as_it_was(folder: Path) -> None:
    cache = BuildCache(folder / "cache")
    source = folder / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep/file").write_text("content")
    (source / "link").symlink_to("deep/file")
    os.utime(source / "deep/file", (1000, 1000))
    assert not await cache.restore("name", folder / "target")
    await cache.store("name", source)
    await cache.store("part", source, parts=["deep", "missing"])
    assert await cache.restore("name", folder / "target")
    assert (folder / "target/link").readlink() == Path("deep/file")
    assert (folder / "target/deep/file").stat().st_mtime == 1000
    assert {each.name for each in cache.entries()} == {"name", "part"}
    assert await cache.restore("part", folder / "target")
    assert [each.name for each in cache.entries()] == ["part", "name"], "the one used last comes first"


async def test_no_folder_keeps_nothing(folder: Path) -> None:
    cache = BuildCache()
    await cache.store("name", folder)
    assert not await cache.restore("name", folder / "target")
    assert (cache.entries(), cache.prune()) == ([], [])


@pytest.mark.parametrize("mode", [0o777, 0o750, 0o701])
async def test_a_folder_that_others_can_reach_is_not_used(folder: Path, mode: int) -> None:
    cache = BuildCache(folder / "cache")
    entry(cache, "name", 10, 1000)
    (folder / "cache").chmod(mode)
    assert not await cache.restore("name", folder / "target")
    await cache.store("other", folder / "cache/name")
    assert [each.name for each in cache.entries()] == ["name"]


async def test_what_was_not_used_for_longest_goes_first(folder: Path) -> None:
    cache = BuildCache(folder / "cache", limit=25_000)
    (folder / "cache").mkdir(mode=0o700)
    for name, used_at in (("old", 1000), ("older", 500), ("new", 2000)):
        entry(cache, name, 8192, used_at)
    entry(cache, ".unfinished-x", 8192, 1000)
    await cache.store("newest", folder / "cache/new")
    assert {each.name for each in cache.entries()} == {"newest", "new", "old"}
    assert {each.name for each in cache.prune(0)} == {"newest", "new", "old"}
    assert os.listdir(folder / "cache") == []


class Builds:
    """Stands in for a compile."""

    def __init__(self) -> None:
        self.count = 0

    async def __call__(self, slot: Slot) -> None:
        self.count += 1
        await asyncio.to_thread((slot.path / "target").mkdir)


async def _nothing_to_prepare(_scaffold: Path) -> None:
    """The crate has no dependencies."""


async def test_the_same_scaffold_and_recipe_are_built_once(folder: Path) -> None:
    cache, builds = BuildCache(folder / "cache"), Builds()
    scaffold = write_scaffold(folder / "scaffold")

    async def warm(recipe: str, level: Level = Level.NAMESPACE) -> None:
        pool = SlotPool(
            scaffold,
            folder / "work",
            2,
            Isolation(level),
            prepare=_nothing_to_prepare,
            build=builds,
            cache=cache,
            recipe=recipe,
        )
        await pool.warm()
        assert await asyncio.to_thread((folder / "work/slot-1/target").is_dir)
        await pool.close()

    for recipe, expected in (("a", 1), ("a", 1), ("b", 2), ("a", 2)):
        await warm(recipe)
        assert builds.count == expected
    with (scaffold / "src/engine.rs").open("a") as engine:
        engine.write("// changed\n")
    await warm("a")
    assert builds.count == 3
    await warm("a", Level.PROCESS)
    assert builds.count == 5, "slots that were built where they are can't be moved"


async def test_a_second_grader_needs_neither_network_nor_build(folder: Path) -> None:
    """The crate's dependency is gone by then, and what was kept grades as what was built."""
    isolation = await Isolation.detect(folder)
    if isolation.level is Level.PROCESS:
        pytest.skip("this machine gives nothing that keeps agents away from a cache")
    scaffold = write_scaffold(folder / "scaffold")
    synthetic.add_dependency(scaffold, folder / "dice")
    cache = BuildCache(folder / "cache")
    for number in (1, 2):
        grader = Grader(scaffold, folder / f"work-{number}", isolation=isolation, cache=cache)
        await grader.warm()
        grade = await grader.grade(submission(GOLD.replace("10 *", "dice::SIDES *")))
        assert grade.reward == 1.0, grade.compile_output
        await grader.close()
        await asyncio.to_thread(shutil.rmtree, folder / "dice", ignore_errors=True)
    kinds = {each.name.partition("-")[0] for each in cache.entries()}
    assert kinds == ({"dependencies", "build"} if isolation.has_own_root else {"dependencies"})


async def test_no_jail_reaches_it(folder: Path) -> None:
    isolation = await Isolation.detect(folder, hidden=[folder / "cache"])
    if isolation.level is Level.PROCESS:
        pytest.skip("this machine gives nothing that keeps agents away from a cache")
    cache = BuildCache(folder / "cache")
    (folder / "source").mkdir()
    (folder / "source/file").write_text("content")
    await cache.store("name", folder / "source")
    (folder / "workspace").mkdir()
    isolation.hand_over(folder / "workspace", 59_902)
    jail = Jail(folder / "workspace", uid=59_902)
    for command in (f"ls {folder}/cache", f"cat {folder}/cache/name/file", f"touch {folder}/cache/name/forged"):
        completed = await isolation.run(jail, ["sh", "-c", command], timeout=20)
        assert completed.exit_code != 0, command
        assert completed.stdout == ""
    assert (folder / "cache/name/file").read_text() == "content"
    assert not (folder / "cache/name/forged").exists()
