"""The statistics of rows."""

import math
from collections.abc import Sequence

import pytest

from evals.models import Row
from evals.statistics import counts, interval_95, mean_reward, student_t_975


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
