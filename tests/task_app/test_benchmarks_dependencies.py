"""A crate with dependencies: agents check their work, and are graded, without a network, in either layout."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from task_app.agents import AgentContext
from task_app.agents.workplace import Workplace
from task_app.benchmarks import Work, open_benchmark
from task_app.build_cache import BuildCache
from task_app.isolation import Isolation, Level
from tests import synthetic
from tests.task_app.grading_fixtures import open_directory


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_directory() as directory:
        yield directory


@pytest.mark.parametrize(("layout", "crate"), [("classic", "scaffold"), ("harbor", "harbor-root")])
async def test_dependencies_are_where_agents_work_and_where_they_are_graded(
    folder: Path, layout: str, crate: str
) -> None:
    isolation = await Isolation.detect(folder)
    if isolation.level is not Level.NAMESPACE:
        pytest.skip("this machine gives no namespaces")
    {"classic": synthetic.write_classic, "harbor": synthetic.write_harbor}[layout](folder / "clone", 2, 100)
    synthetic.add_dependency(folder / "clone" / crate, folder / "dice")
    benchmark = open_benchmark(folder / "clone")
    await benchmark.warm(folder / "work", 1, isolation, BuildCache(folder / "cache"))
    await asyncio.to_thread(shutil.rmtree, folder / "dice")
    for name in ("workspace", "home"):
        (folder / name).mkdir()
    task = await asyncio.to_thread(benchmark.prepare, benchmark.instances()[0], folder / "workspace")
    place = await Workplace.open(task, AgentContext("one", folder / "home", isolation=isolation), [])
    await asyncio.to_thread(place.furnish, {})
    used = synthetic.Card("df", 1).gold.replace("1 * game", "(dice::SIDES - 9) * game")
    (task.workspace / task.file).write_text(used)
    checked = await place.run(["cargo", "check"], timeout=120, network=False)
    assert checked.exit_code == 0, checked.stderr
    grade = await benchmark.grade(benchmark.instances()[0], Work(used))
    assert grade.reward == 1.0, grade.compile_output
    await benchmark.close()
    assert {entry.name.partition("-")[0] for entry in BuildCache(folder / "cache").entries()} == {
        "build",
        "dependencies",
    }
