"""From rows to the result document, and what the terminal and the Prefect UI say of it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.settings import Settings
from evals.models import Row
from flows import console, prefect_artifacts
from flows.document import Ending, result_document
from flows.failure_logs import FailureLogs
from flows.parameters import Parameters
from flows.plan import make_plan
from flows.result import ErrorRow, ResultDocument
from flows.run_folder import RunFolder

NO_LOGS = FailureLogs({}, {})


def document_of(rewards: Sequence[Sequence[float | None]]) -> ResultDocument:
    """Of a run on the sample; one list of attempts for each of its first instances."""
    parameters = Parameters(seeds=len(rewards), attempts=len(rewards[0]))
    plan = make_plan(parameters, "run", Settings())
    rows = [
        Row(
            seed=seed + attempt * len(plan.instances),
            correlation_id=f"run-{seed}-{attempt}",
            reward=reward,
            infrastructure_failure=reward is None,
        )
        for seed, attempts in enumerate(rewards)
        for attempt, reward in enumerate(attempts)
    ]
    ending = Ending(started_at=datetime.now(UTC), lane_errors=[None])
    return result_document(plan, "a-run", "hash", rows=rows, artifacts={}, ending=ending)


@pytest.fixture
def several() -> ResultDocument:
    return document_of([[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.5, 0.0], [0.0, 0.0, 0.0, 0.0]])


def test_several_attempts_are_summed_up(several: ResultDocument) -> None:
    assert several.pass_at_k == pytest.approx({1: 1.25 / 3, 2: 1.5 / 3, 4: 2 / 3})
    assert several.unstable == [several.rollouts[4].instance]


def test_terminal_and_ui_say_so(several: ResultDocument, tmp_path: Path) -> None:
    said = f"pass@1 0.417, pass@2 0.500, pass@4 0.667. Unstable, solved by some attempts only: {several.unstable[0]}."
    assert said in console.summary(several)
    assert said in prefect_artifacts.markdown(several, RunFolder(tmp_path, several.run), NO_LOGS)


def test_many_unstable_instances_are_counted() -> None:
    said = console.summary(document_of([[1.0, 0.0]] * 7))
    assert "and 2 more." in said


def test_one_attempt_has_nothing_to_say_of_attempts(tmp_path: Path) -> None:
    result = document_of([[1.0], [0.0]])
    assert result.pass_at_k == {1: 0.5}
    assert "pass@" not in console.summary(result)
    assert "pass@" not in prefect_artifacts.markdown(result, RunFolder(tmp_path, result.run), NO_LOGS)


def test_a_document_is_read_as_it_was_written(several: ResultDocument) -> None:
    assert ResultDocument.model_validate_json(several.model_dump_json()) == several


def test_a_document_from_before_is_still_read(several: ResultDocument) -> None:
    written = several.model_dump(mode="json", exclude={"pass_at_k", "unstable"})
    assert ResultDocument.model_validate(written).mean_reward == several.mean_reward


def test_the_summary_shows_the_worst_rollouts_and_says_of_how_many(tmp_path: Path) -> None:
    result = document_of([[1.0] * 15] * 7 + [[0.5] * 14 + [None]])
    summary = prefect_artifacts.markdown(result, RunFolder(tmp_path, result.run), NO_LOGS)
    rows = [line for line in summary.splitlines() if line.startswith(f"| {result.rollouts[0].instance[:2]}")]
    assert len(rows) == prefect_artifacts.ROLLOUTS_SHOWN
    assert "The worst 100 of 120 rollouts" in summary
    assert [row.split(" | ")[2] for row in rows[:3]] == ["none", "0.500", "0.500"]


def test_an_error_can_not_break_the_table(tmp_path: Path) -> None:
    result = document_of([[None]])
    (row,) = result.rollouts
    broken = row.model_copy(update={"error": ErrorRow(kind="wrong", message="one | two\nthree")})
    summary = prefect_artifacts.markdown(
        result.model_copy(update={"rollouts": [broken]}), RunFolder(tmp_path, result.run), NO_LOGS
    )
    assert "| wrong: one \\| two three |" in summary
