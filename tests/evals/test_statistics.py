"""The statistics of rows."""

import math
import random
from collections.abc import Sequence
from itertools import combinations

import pytest

from evals.models import Row
from evals.statistics import (
    counts,
    interval_95,
    mcnemar,
    mean_reward,
    paired_difference,
    pass_at_k,
    student_t_975,
    unstable,
)


def _rows(*instances: Sequence[float | None]) -> list[Row]:
    """One list of rewards for each instance."""
    rows: list[Row] = []
    for number, rewards in enumerate(instances):
        for reward in rewards:
            rows.append(
                Row(
                    seed=len(rows),
                    correlation_id=f"run-{len(rows)}",
                    instance=f"instance-{number}",
                    reward=reward,
                    infrastructure_failure=reward is None,
                )
            )
    return rows


def test_counts_tell_failures_from_zeros() -> None:
    assert counts(_rows([1.0], [0.0], [0.9999], [None])).model_dump() == {
        "total": 4,
        "scored": 3,
        "solved": 1,
        "infrastructure_failures": 1,
    }


def test_the_mean_leaves_out_what_was_not_scored() -> None:
    assert mean_reward(_rows([1.0], [0.5], [None])) == 0.75
    assert mean_reward(_rows([0.0], [0.0])) == 0.0
    assert mean_reward(_rows([None])) is None
    assert mean_reward([]) is None


def test_with_one_attempt_each_it_is_students_interval() -> None:
    rewards: list[float] = [0.2, 0.4, 0.6, 0.8, 0.5]
    spread = math.sqrt(sum((reward - 0.5) ** 2 for reward in rewards) / 4)
    margin = 2.776 * spread / math.sqrt(5)
    assert interval_95(_rows(*([reward] for reward in rewards))) == pytest.approx(
        (0.5 - margin, 0.5 + margin), abs=1e-3
    )


def test_repeating_every_attempt_alike_teaches_nothing() -> None:
    once = interval_95(_rows([0.2], [0.4], [0.9]))
    assert interval_95(_rows([0.2] * 5, [0.4] * 5, [0.9] * 5)) == pytest.approx(once)


def test_attempts_that_differ_as_much_as_instances_narrow_it() -> None:
    narrow = interval_95(_rows([0.0, 1.0] * 4, [1.0, 0.0] * 4, [0.0, 1.0] * 4, [1.0] * 8))
    wide = interval_95(_rows([0.0] * 8, [1.0] * 8, [0.0] * 8, [1.0] * 8))
    assert narrow is not None
    assert wide is not None
    assert narrow[1] - narrow[0] < wide[1] - wide[0]


def test_it_stays_within_zero_and_one() -> None:
    assert interval_95(_rows([0.0], [1.0])) == (0.0, 1.0)


@pytest.mark.parametrize("instances", [[], [[1.0]], [[1.0, 0.0, 0.5]], [[1.0], [None]]])
def test_fewer_than_two_instances_have_none(instances: list[list[float | None]]) -> None:
    assert interval_95(_rows(*instances)) is None


def test_rows_without_an_instance_stand_for_themselves() -> None:
    rows = [row.model_copy(update={"instance": None}) for row in _rows([0.2], [0.4], [0.9])]
    assert interval_95(rows) == interval_95(_rows([0.2], [0.4], [0.9]))


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    # NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (9, 2.262), (15, 2.131), (30, 2.042), (100, 1.984)],
)
def test_students_quantiles_are_those_of_the_tables(degrees: int, quantile: float) -> None:
    assert student_t_975(degrees) == pytest.approx(quantile, rel=2e-3)


def test_pass_at_k_is_the_share_of_choices_that_hold_a_solution() -> None:
    """Against its definition: all ways to pick k of the attempts."""
    instances = [[1.0, 0.0, 0.5, 0.0, 1.0], [0.0] * 5, [1.0, 0.9, 0.0, 0.0, 0.0]]
    for k, value in pass_at_k(_rows(*instances)).items():
        shares = []
        for rewards in instances:
            picks = list(combinations(rewards, k))
            shares.append(sum(1.0 in pick for pick in picks) / len(picks))
        assert value == pytest.approx(sum(shares) / 3)


def test_pass_at_k_is_unbiased() -> None:
    """The mean over many small samples is the true chance, which the naive estimator 1 - (1 - c/n)^k misses."""
    chance, k, source = 0.3, 2, random.Random(7)
    estimates = [
        pass_at_k(_rows([float(source.random() < chance) for _ in range(4)], [0.0] * 4))[k] * 2 for _ in range(4000)
    ]
    assert sum(estimates) / len(estimates) == pytest.approx(1 - (1 - chance) ** k, abs=0.02)


@pytest.mark.parametrize(
    ("instances", "ks"),
    [
        ([], []),
        ([[None]], []),
        ([[1.0]], [1]),
        ([[1.0] * 3], [1, 2, 3]),
        ([[1.0] * 100, [0.0] * 100], [1, 2, 5, 10, 20, 50, 100]),
        ([[1.0] * 5, [0.0, 0.0, 1.0, None, None]], [1, 2, 3]),
        ([[1.0] * 5, [None] * 5], [1, 2, 5]),
    ],
)
def test_pass_at_k_goes_as_far_as_every_instance_does(instances: list[list[float | None]], ks: list[int]) -> None:
    assert list(pass_at_k(_rows(*instances))) == ks


def test_pass_at_one_is_the_share_of_solved_attempts() -> None:
    assert pass_at_k(_rows([1.0], [0.99], [0.0], [1.0]))[1] == 0.5


def test_an_instance_is_unstable_where_attempts_disagree_on_solved() -> None:
    rows = _rows([1.0, 1.0], [0.0, 0.5], [1.0, 0.5], [1.0, None], [0.0, 1.0, 0.0])
    assert unstable(rows) == ["instance-2", "instance-4"]


@pytest.mark.parametrize(
    ("only_before", "only_after", "p_value"),
    # R: binom.test(min(b, c), b + c)$p.value
    [(0, 0, 1.0), (1, 0, 1.0), (3, 3, 1.0), (0, 6, 0.03125), (10, 2, 0.03857421875), (1, 8, 0.0390625)],
)
def test_mcnemars_test_is_the_binomial_one(only_before: int, only_after: int, p_value: float) -> None:
    before = _rows(*[[1.0]] * only_before, *[[0.5]] * only_after, [1.0], [0.0])
    after = _rows(*[[0.5]] * only_before, *[[1.0]] * only_after, [1.0], [0.0])
    found = mcnemar(before, after)
    assert found
    assert (found.instances, found.only_before, found.only_after) == (
        only_before + only_after + 2,
        only_before,
        only_after,
    )
    assert found.p_value == pytest.approx(p_value)


def test_mcnemars_test_counts_an_instance_once() -> None:
    found = mcnemar(_rows([1.0, 1.0, 0.0], [1.0, 0.0]), _rows([0.0, 1.0, 0.0], [0.0, 0.0]))
    assert found
    assert (found.only_before, found.only_after) == (1, 0)


def test_runs_that_share_no_scored_instance_are_not_compared() -> None:
    before, after = _rows([1.0], [None]), _rows([None], [1.0])
    assert mcnemar(before, after) is None
    assert paired_difference(before, after) is None


def test_a_difference_is_paired_by_instance() -> None:
    found = paired_difference(_rows([0.2], [0.8], [1.0]), _rows([0.4, 0.4], [0.9], [None]))
    assert found
    assert (found.instances, found.mean) == (2, pytest.approx(0.15))
    assert found.interval_95
    margin = 12.706 * 0.05
    assert found.interval_95 == pytest.approx((0.15 - margin, 0.15 + margin), abs=1e-3)
