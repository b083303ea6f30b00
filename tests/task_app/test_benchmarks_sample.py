"""The proof of the sample benchmark, through the real grader.

For each instance the reference scores 1, the stub at most 0.3, and a wrong implementation something in between.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from task_app.agents import AGENTS, AgentContext
from task_app.benchmarks import Benchmark, Instance, ReferenceFile, Task, Work, open_benchmark
from task_app.grade import COMPILES, FailureKind
from task_app.isolation import Isolation
from tests.task_app.scripted import Scripted
from tests.task_app.serving import ROOT, rollout, serving, settings

SAMPLE = ROOT / "benchmarks" / "sample"
INSTANCES = open_benchmark(SAMPLE).instances()

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sample(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Benchmark]:
    """One warm grader for all: compiling the crate takes far longer than grading a card."""
    work = tmp_path_factory.mktemp("work")
    benchmark = open_benchmark(SAMPLE)
    await benchmark.warm(work, 1, await Isolation.detect(work))
    yield benchmark
    await benchmark.close()


@pytest.mark.parametrize("instance", INSTANCES, ids=lambda instance: instance.id)
async def test_the_tests_tell_right_from_wrong(sample: Benchmark, instance: Instance, tmp_path: Path) -> None:
    reference = sample.reference(instance)
    assert isinstance(reference, ReferenceFile)
    gold = await sample.grade(instance, Work(reference.text))
    assert (gold.reward, gold.failure) == (1.0, None), gold.compile_output

    stub = await sample.grade(instance, Work(sample.prepare(instance, tmp_path).stub))
    assert stub.reward <= COMPILES, stub.test_output
    assert stub.failure is not None

    wrong = await sample.grade(instance, Work(_wrong(instance)))
    assert COMPILES < wrong.reward < 1.0, wrong.compile_output
    assert wrong.failure is not None
    assert wrong.failure.kind is FailureKind.TESTS_FAILED


def _wrong(instance: Instance) -> str:
    return (SAMPLE / "gold" / "wrong" / f"{instance.id.replace('-', '_')}.rs").read_text()


def _spoil(task: Task, context: AgentContext) -> None:
    """Everything but the file that counts is changed, so that each hidden test would pass or none would compile."""
    for name in ("Cargo.toml", "src/lib.rs", "src/em/cards/mod.rs", "build.rs"):
        (task.workspace / name).write_text("compile_error!();")
    (task.workspace / "target" / "debug").mkdir(parents=True)
    (task.workspace / ".cargo").mkdir()
    (task.workspace / ".cargo" / "config.toml").write_text('[build]\nrustc-wrapper = "/bin/true"\n')


async def test_rollouts_over_http_on_a_sealed_copy(tmp_path: Path) -> None:
    """A card that the scaffold does not declare, from the request to the reward."""
    copy = tmp_path / "benchmark"
    await asyncio.to_thread(shutil.copytree, SAMPLE, copy)
    seed = [instance.id for instance in INSTANCES if instance.split == "em"].index("em-010-wildfire-lynx")
    agents = {"gold": AGENTS["gold"], "noop": AGENTS["noop"], "vandal": Scripted(_spoil)}
    bodies = {}
    async with serving(settings(tmp_path / "work", copy, benchmark_name="sample", seal=True), agents) as client:
        for agent in agents:
            request = rollout(agent, agent, seed, split="em", benchmark="sample")
            bodies[agent] = (await client.post("/rollout", json=request)).json()
            assert sorted(os.listdir(copy)) == ["benchmark.json", "data", "gold.sealed", "scaffold"]

    rewards = {agent: body["reward_info"]["outcome_reward"] for agent, body in bodies.items()}
    assert rewards == {"gold": 1.0, "noop": COMPILES, "vandal": COMPILES}
    details = bodies["gold"]["reward_info"]["details"]
    assert (details["instance"], details["seed"], details["attempt"]) == ("em-010-wildfire-lynx", seed, 0)
    assert details["tests_passed"] == details["tests_total"] > 0
    assert set(details["phases"]) == {"queue", "prepare", "agent", "compile", "tests"}
    kept = {artifact["name"]: artifact["content"] for artifact in bodies["gold"]["artifact"]}
    assert set(kept) >= {"final.rs", "diff.patch", "tests.txt", "agent.log"}
    assert "-    todo!()" in kept["diff.patch"]
