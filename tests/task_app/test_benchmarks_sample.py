"""The proof of the sample benchmark, through the real grader.

For each instance the reference scores 1, the stub at most 0.3, and a wrong implementation something in between.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from task_app.benchmarks import Benchmark, Instance, open_benchmark
from task_app.grade import COMPILES, FailureKind
from task_app.isolation import Isolation
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
    assert reference is not None
    gold = await sample.grade(instance, reference)
    assert (gold.reward, gold.failure) == (1.0, None), gold.compile_output

    stub = await sample.grade(instance, sample.prepare(instance, tmp_path).stub)
    assert stub.reward <= COMPILES, stub.test_output
    assert stub.failure is not None

    wrong = await sample.grade(instance, _wrong(instance))
    assert COMPILES < wrong.reward < 1.0, wrong.compile_output
    assert wrong.failure is not None
    assert wrong.failure.kind is FailureKind.TESTS_FAILED


def _wrong(instance: Instance) -> str:
    return (SAMPLE / "gold" / "wrong" / f"{instance.id.replace('-', '_')}.rs").read_text()


async def test_a_rollout_of_gold_over_http(tmp_path: Path) -> None:
    """A card that the scaffold does not declare, from the request to the reward."""
    async with serving(settings(tmp_path / "work", SAMPLE, benchmark_name="sample")) as client:
        seed = [instance.id for instance in INSTANCES if instance.split == "em"].index("em-010-wildfire-lynx")
        reply = await client.post("/rollout", json=rollout("one", "gold", seed, split="em", benchmark="sample"))
        body = reply.json()
    assert body["reward_info"]["outcome_reward"] == 1.0, body
    details = body["reward_info"]["details"]
    assert (details["instance"], details["seed"]) == ("em-010-wildfire-lynx", seed)
    assert details["tests_passed"] == details["tests_total"] > 0
    assert set(details["phases"]) == {"queue", "prepare", "agent", "compile", "tests"}
    assert {artifact["name"] for artifact in body["artifact"]} >= {"final.rs", "diff.patch", "tests.txt", "agent.log"}
