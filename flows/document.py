"""From the rows in the results store to the result document."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version

from evals import statistics
from evals.models import Row
from flows.benchmarks import commit
from flows.plan import Plan
from flows.result import BenchmarkReference, Comparison, ErrorRow, Rescoring, ResultDocument, RolloutRow, RunStatus


@dataclass(frozen=True)
class Former:
    """The run of which the code was graded again."""

    run: str
    rows: Sequence[Row]
    """Those that have a score."""

    @property
    def rewards(self) -> Mapping[int, float | None]:
        """By wire seed."""
        return {row.seed: row.reward for row in self.rows}


@dataclass(frozen=True)
class Ending:
    """How a run ended."""

    started_at: datetime
    lane_errors: Sequence[BaseException | None] | None
    """What ended each lane, None for one that ended well; None altogether where the run was cut short."""
    warnings: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    """Of the tools in the sandboxes."""
    previous: ResultDocument | None = None
    """Of the last run of the series that scored something."""
    former: Former | None = None
    """Where a run was graded again."""


def result_document(
    plan: Plan,
    name: str,
    benchmark_hash: str,
    *,
    rows: Sequence[Row],
    artifacts: Mapping[str, list[str]],
    ending: Ending,
) -> ResultDocument:
    """Join what was planned with what was scored: a planned rollout without a row is an infrastructure failure.

    `artifacts` maps correlation ids to paths relative to the document.
    """
    planned = _planned_rows(plan, rows, ending)
    status, error = _status(plan, planned, ending)
    return ResultDocument(
        run=name,
        flow_run_id=plan.flow_run_id,
        status=status,
        error=error,
        warnings=list(ending.warnings),
        started_at=ending.started_at,
        finished_at=datetime.now(UTC),
        mean_reward=statistics.mean_reward(planned),
        interval_95=statistics.interval_95(planned),
        counts=statistics.counts(planned),
        pass_at_k=statistics.pass_at_k(planned),
        unstable=statistics.unstable(planned),
        parameters=plan.parameters.model_dump(),
        versions=_versions() | dict(ending.versions),
        benchmark=BenchmarkReference(
            name=plan.parameters.benchmark, commit=commit(plan.benchmark_dir), content_hash=benchmark_hash
        ),
        comparison=_comparison(ending, benchmark_hash, planned),
        rescored=_rescoring(ending.former, planned, artifacts),
        rollouts=[_rollout_row(plan, row, artifacts.get(row.correlation_id, []), ending.former) for row in planned],
    )


def _planned_rows(plan: Plan, rows: Sequence[Row], ending: Ending) -> list[Row]:
    """One row for each planned rollout, by instance and attempt."""
    finished = {row.seed: row for row in rows}
    errors = ending.lane_errors or [None] * len(plan.lanes)
    blamed = {seed: error for lane, error in zip(plan.lanes, errors, strict=True) for seed in lane.seeds}
    planned = [
        (finished.get(seed) or _not_run(seed, blamed.get(seed))).model_copy(update={"instance": plan.locate(seed)[0]})
        for seed in plan.seeds
    ]
    return sorted(planned, key=lambda row: plan.locate(row.seed)[1:])


def _comparison(ending: Ending, benchmark_hash: str, rows: Sequence[Row]) -> Comparison | None:
    if ending.former:
        run, before = ending.former.run, ending.former.rows
    elif ending.previous and ending.previous.benchmark.content_hash == benchmark_hash:
        run, before = ending.previous.run, rows_of(ending.previous)
    else:
        return None
    difference = statistics.paired_difference(before, rows)
    if difference is None:
        return None
    return Comparison(run=run, mean_reward=statistics.mean_reward(before), **difference.model_dump())


def _rescoring(former: Former | None, rows: Sequence[Row], artifacts: Mapping[str, list[str]]) -> Rescoring | None:
    if former is None:
        return None
    scored = [row for row in rows if row.reward is not None]
    return Rescoring(
        run=former.run,
        changed=sum(row.reward != former.rewards.get(row.seed) for row in scored),
        kept=sum(not artifacts.get(row.correlation_id) for row in scored),
    )


def rows_of(result: ResultDocument) -> list[Row]:
    """The rollouts of a document, as the statistics take them."""
    return [Row(seed=row.seed, correlation_id="", instance=row.instance, reward=row.reward) for row in result.rollouts]


def _not_run(wire_seed: int, lane_error: BaseException | None) -> Row:
    reason = _error_row(lane_error) if lane_error else ErrorRow(kind="not-run", message="The run ended before it.")
    return Row.infrastructure(wire_seed, "", reason.kind, reason.message)


def _rollout_row(plan: Plan, row: Row, artifacts: list[str], former: Former | None) -> RolloutRow:
    instance, seed, attempt = plan.locate(row.seed)
    return RolloutRow(
        instance=instance,
        seed=seed,
        attempt=attempt,
        reward=row.reward,
        former_reward=former.rewards.get(row.seed) if former else None,
        tests_passed=row.tests_passed,
        tests_total=row.tests_total,
        error=ErrorRow(kind=row.error.kind, message=row.error.message) if row.error else None,
        phases=row.phases,
        agent=plan.parameters.agent,
        model=plan.parameters.model or None,
        turns=row.turns,
        tokens=row.tokens,
        cost_usd=row.cost_usd,
        artifacts=artifacts,
    )


def _status(plan: Plan, rows: list[Row], ending: Ending) -> tuple[RunStatus, ErrorRow | None]:
    unscored = [row for row in rows if row.reward is None]
    if ending.lane_errors is None:
        return "cancelled", ErrorRow(kind="cancelled", message="The run was cut short; what was scored is kept.")
    if not unscored:
        return "completed", None
    first = next((error for error in ending.lane_errors if error), None)
    if first and len(unscored) == len(rows):
        return "failed", _error_row(first)
    named = [
        f"{plan.rollout_name(row.seed)} ({row.error.message if row.error else 'no reason given'})"
        for row in unscored[:3]
    ]
    more = [f"and {len(unscored) - 3} more"] if len(unscored) > 3 else []
    message = f"{len(unscored)} of {len(rows)} rollouts have no score: {', '.join(named + more)}"
    return "incomplete", ErrorRow(kind="unscored-rollouts", message=message)


def _error_row(error: BaseException) -> ErrorRow:
    return ErrorRow(kind=type(error).__name__, message=str(error) or type(error).__name__)


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        **{package: version(package) for package in ("engine-bench", "prefect", "synth-ai")},
    }
