"""Planning: which seeds, in which lanes, before anything is paid for."""

from pathlib import Path

import pytest

from core.errors import ConfigurationError
from core.settings import Settings
from flows.parameters import Parameters
from flows.plan import content_hash, make_plan, pack

RUN = "6f9619ff-8b86-d011-b42d-00c04fc964ff"


def plan_of(settings: Settings = Settings(), **parameters: object):  # type: ignore[no-untyped-def]  # noqa: B008
    return make_plan(Parameters.model_validate(parameters), RUN, settings)


def test_all_instances_of_the_sample_are_planned_once() -> None:
    plan = plan_of(benchmark="sample")
    assert [plan.locate(seed)[0] for lane in plan.lanes for seed in lane.seeds] == list(plan.instances)
    assert "cargo" in plan.tools


def test_hello_world_needs_no_tools() -> None:
    assert plan_of(benchmark="hello-world").tools == ()


def test_lanes_share_the_seeds_without_overlap() -> None:
    plan = plan_of(sandboxes=3, seeds=8, attempts=2)
    dealt = [seed for lane in plan.lanes for seed in lane.seeds]
    assert len(plan.lanes) == 3
    assert len(dealt) == len(set(dealt)) == plan.total == 16
    assert {plan.locate(seed)[1] for seed in dealt} == set(range(8))
    assert {plan.locate(seed)[2] for seed in dealt} == {0, 1}


def test_no_lane_is_left_without_work() -> None:
    assert len(plan_of(benchmark="hello-world", sandboxes=5).lanes) == 1


def test_a_split_counts_its_own_seeds() -> None:
    whole, split = plan_of(), plan_of(split=plan_of().instances[0].split("-")[0])
    assert set(split.instances) < set(whole.instances)


def test_globs_choose_instances() -> None:
    wanted = plan_of().instances[3]
    assert [plan_of(instances=[wanted]).locate(seed)[0] for seed in plan_of(instances=[wanted]).lanes[0].seeds] == [
        wanted
    ]


@pytest.mark.parametrize("parameters", [{"instances": ["zz-*"]}, {"split": "nowhere"}])
def test_what_is_not_there_is_named(parameters: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match=r"zz-\*|nowhere"):
        plan_of(**parameters)


def test_the_users_clone_must_be_named() -> None:
    with pytest.raises(ConfigurationError, match="ENGINE_BENCH_DIR is not set"):
        plan_of(Settings(dir=None), benchmark="engine-bench")


def test_an_empty_clone_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=str(tmp_path)):
        plan_of(Settings(dir=tmp_path), benchmark="engine-bench")


def test_names_are_the_same_for_the_same_run() -> None:
    first, second = plan_of(sandboxes=2), plan_of(sandboxes=2)
    assert [lane.spec.name for lane in first.lanes] == [lane.spec.name for lane in second.lanes]
    assert len({lane.spec.name for lane in first.lanes}) == 2


def test_the_content_hash_is_the_benchmarks_own() -> None:
    plan = plan_of()
    assert content_hash(plan) == content_hash(plan_of(agent="noop"))
    assert content_hash(plan) != content_hash(plan_of(benchmark="hello-world"))
    assert pack(plan).digest == pack(plan).digest
