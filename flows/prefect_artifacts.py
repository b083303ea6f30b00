"""What a run shows in the Prefect UI: a live progress artifact, a table of rollouts, a summary."""

import json
import textwrap
from uuid import UUID

import httpx
from prefect.artifacts import (
    acreate_image_artifact,
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)
from prefect.client.orchestration import get_client
from prefect.events import emit_event
from prefect.logging import get_run_logger

from evals.models import Progress
from flows import chart
from flows.failure_logs import FailureLogs, folder_of, publish_failure_logs, worst_first
from flows.plan import Plan
from flows.result import Comparison, Rescoring, ResultDocument, RolloutRow
from flows.run_folder import RunFolder

PROGRESS_UPDATES = 20
"""At most so many updates of the live artifact; each is a call to the Prefect API."""

CELL = 120
"""Characters of an error that the summary shows."""

ROLLOUTS_SHOWN = 100
"""Rollouts in the summary, the worst first; all of them are in an artifact of their own."""

UNSTABLE_NAMED = 5
"""Unstable instances that the summary names; all of them are in the result document."""


class LiveProgress:
    """Rollouts done and their mean so far, over all lanes, in the log and as a live artifact."""

    def __init__(self, plan: Plan) -> None:
        self._total = plan.total
        self._key = f"progress-{plan.parameters.benchmark}-{plan.parameters.backend}"
        self._lanes: dict[int, Progress] = {}
        self._artifact: UUID | None = None
        self._done = 0
        self._has_warned = False

    async def begin(self) -> None:
        await self._make(0.0, f"0 of {self._total} rollouts")

    async def _make(self, done: float, text: str) -> None:
        self._artifact = await acreate_progress_artifact(progress=done, key=self._key, description=text)

    async def update(self, lane: int, progress: Progress) -> None:
        """Take a lane's progress; does nothing if no rollout has ended since the last call."""
        self._lanes[lane] = progress
        before, self._done = self._done, sum(lane.completed for lane in self._lanes.values())
        if self._done == before:
            return
        mean = self._mean()
        text = f"{self._done} of {self._total} rollouts, mean reward {number(mean)}"
        counted = {"rollouts_completed": self._done, "rollouts_total": self._total, "rollouts_mean": mean}
        get_run_logger().info(text, extra=counted)
        step = max(1, self._total // PROGRESS_UPDATES)
        if self._artifact and (self._done // step > before // step or self._done == self._total):
            await self._show(self._artifact, text)

    async def _show(self, artifact: UUID, text: str) -> None:
        """That it can't be shown is no reason to end what is paid for."""
        try:
            await self._update(artifact, 100.0 * self._done / self._total, text)
        except httpx.HTTPError as error:
            if not self._has_warned:
                get_run_logger().warning(
                    f"The Prefect server does not take the progress ({type(error).__name__}); the run goes on."
                )
            self._has_warned = True

    async def _update(self, artifact: UUID, done: float, text: str) -> None:
        try:
            await aupdate_progress_artifact(artifact_id=artifact, progress=done, description=text)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.NOT_FOUND:
                raise
            await self._make(done, text)  # somebody has deleted it

    def _mean(self) -> float | None:
        """Lanes weigh by what they completed: unscored rollouts are rare enough for a live figure."""
        scored = [(lane.completed, lane.mean_reward) for lane in self._lanes.values() if lane.mean_reward is not None]
        weight = sum(completed for completed, _ in scored)
        return sum(completed * mean for completed, mean in scored) / weight if weight else None


async def describe_run(plan: Plan) -> None:
    """Say in the run's name how many instances it takes, which is known by now, and add its tags."""
    async with get_client() as client:
        run = await client.read_flow_run(UUID(plan.flow_run_id))
        await client.update_flow_run(run.id, name=plan.title or run.name, tags={*run.tags, *plan.parameters.tags})


def tell_regression(result: ResultDocument) -> None:
    """Emit the event that the regression automation waits for, if the run is clearly below the one before it."""
    if result.comparison and result.comparison.is_regression:
        emit_event(
            event="engine-bench.regression",
            resource={
                "prefect.resource.id": f"prefect.flow-run.{result.flow_run_id}",
                "prefect.resource.name": result.run,
            },
            payload={"message": comparison_text(result.comparison), **result.comparison.model_dump()},
        )


async def publish(result: ResultDocument, folder: RunFolder) -> None:
    """Put the summary and the table of rollouts into the Prefect UI."""
    key = f"{result.benchmark.name}-{result.parameters['backend']}"
    await acreate_table_artifact(
        table=[
            {
                "instance": row.instance,
                "attempt": row.attempt + 1,
                "reward": number(row.reward),
                "tests": _tests(row),
                "error": f"{row.error.kind}: {row.error.message}" if row.error else "",
            }
            for row in result.rollouts
        ],
        key=f"rollouts-{key}",
        description=f"Rollouts of {result.run}",
    )
    await acreate_image_artifact(
        image_url=chart.data_uri(chart.rewards(result.rollouts)),
        key=f"rewards-{key}",
        description="Mean reward by instance",
    )
    logs = await publish_failure_logs(result, folder, key)
    await acreate_markdown_artifact(
        markdown=markdown(result, folder, logs),
        key=f"summary-{key}",
        description=f"mean reward {number(result.mean_reward)}",
    )


def markdown(result: ResultDocument, folder: RunFolder, logs: FailureLogs) -> str:
    """The run's summary as it stands in the Prefect UI."""
    counts = result.counts
    interval = "" if result.interval_95 is None else " (95%: {:.3f} to {:.3f})".format(*result.interval_95)
    lines = [
        f"# {result.benchmark.name} · {result.parameters['agent']}",
        f"**Mean reward {number(result.mean_reward)}**{interval}",
        "",
        "| rollouts | scored | solved | infrastructure failures |",
        "|---|---|---|---|",
        f"| {counts.total} | {counts.scored} | {counts.solved} | {counts.infrastructure_failures} |",
        "",
        *([rescoring_text(result.rescored), ""] if result.rescored else []),
        *_attempts(result),
        *_comparison(result.comparison),
        f"Status: {result.status}" + (f". {result.error.message}" if result.error else ""),
        "",
        *_sandbox_logs(logs),
        *_rollouts(result, logs),
        f"Result document, and beside it all that the rollouts have left: `{folder.document}`",
        "",
        f"```json\n{json.dumps(result.parameters)}\n```",
    ]
    return "\n".join(lines)


def _sandbox_logs(logs: FailureLogs) -> list[str]:
    if not logs.sandboxes:
        return []
    return ["Logs of sandboxes: " + ", ".join(f"[{name}]({url})" for name, url in logs.sandboxes.items()), ""]


def _rollouts(result: ResultDocument, logs: FailureLogs) -> list[str]:
    rows = worst_first(result)[:ROLLOUTS_SHOWN]
    some = len(rows) < len(result.rollouts)
    return [
        *([f"The worst {len(rows)} of {len(result.rollouts)} rollouts:", ""] if some else []),
        "| instance | attempt | reward | tests | error | log, or files |",
        "|---|---|---|---|---|---|",
        *(_rollout(row, logs) for row in rows),
        "",
    ]


def _rollout(row: RolloutRow, logs: FailureLogs) -> str:
    folder = folder_of(row)
    left = "" if folder is None else f"[log]({logs.rollouts[folder]})" if folder in logs.rollouts else f"`{folder}`"
    error = f"{row.error.kind}: {row.error.message}" if row.error else ""
    cells = (row.instance, str(row.attempt + 1), number(row.reward), _tests(row), _one_cell(error), left)
    return f"| {' | '.join(cells)} |"


def _tests(row: RolloutRow) -> str:
    return "" if row.tests_total is None else f"{row.tests_passed}/{row.tests_total}"


def _one_cell(text: str) -> str:
    """Its beginning, as text that can't end its cell of a table; the whole of it is in the table of rollouts."""
    return textwrap.shorten(text, CELL, placeholder=" ...").replace("|", "\\|")


def _attempts(result: ResultDocument) -> list[str]:
    text = attempts_text(result)
    return [text, ""] if text else []


def attempts_text(result: ResultDocument) -> str:
    """What several attempts at each instance show, in a sentence or two; empty where there was one."""
    if not any(row.attempt for row in result.rollouts):
        return ""
    chances = ", ".join(f"pass@{k} {value:.3f}" for k, value in result.pass_at_k.items())
    if not result.unstable:
        return f"{chances}. No instance is unstable."
    named, more = ", ".join(result.unstable[:UNSTABLE_NAMED]), len(result.unstable) - UNSTABLE_NAMED
    return f"{chances}. Unstable, solved by some attempts only: {named}{f' and {more} more' if more > 0 else ''}."


def rescoring_text(rescored: Rescoring) -> str:
    """One sentence or two."""
    kept = f" {rescored.kept} left no code to grade, so their old score stands." if rescored.kept else ""
    return (
        f"The code of run {rescored.run} was graded again, without its agent: {rescored.changed} rewards changed.{kept}"
    )


def _comparison(comparison: Comparison | None) -> list[str]:
    if comparison is None:
        return []
    return [comparison_text(comparison), ""]


def comparison_text(comparison: Comparison) -> str:
    """One sentence."""
    interval = "" if comparison.interval_95 is None else " (95%: {:+.3f} to {:+.3f})".format(*comparison.interval_95)
    return (
        f"Against run {comparison.run}: {comparison.mean:+.3f}{interval} "
        f"over {comparison.instances} shared instance{'s' if comparison.instances > 1 else ''}."
    )


def number(value: float | None) -> str:
    """A reward as text."""
    return "none" if value is None else f"{value:.3f}"
