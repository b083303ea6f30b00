"""A run's report: progress while it runs, and when it ends the result document, on disk and in the Prefect UI."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.runtime import deployment
from pydantic import ValidationError

from core.settings import Settings
from evals.models import Progress
from evals.store import Store
from flows import prefect_artifacts
from flows.document import Ending, result_document
from flows.plan import Plan, content_hash
from flows.prefect_artifacts import LiveProgress
from flows.result import ResultDocument
from flows.run_folder import RunFolder


class Report:
    """Collects what the lanes tell, and concludes it once."""

    def __init__(self, plan: Plan, store: Store, folder: RunFolder, benchmark_hash: str) -> None:
        self.folder = folder
        self._plan = plan
        self._store = store
        self._benchmark_hash = benchmark_hash
        self._progress = LiveProgress(plan)
        self._started_at = datetime.now(UTC)
        self._warnings: list[str] = []
        self._versions: dict[str, str] = {}

    @classmethod
    async def begin(cls, plan: Plan, settings: Settings, store: Store) -> "Report":
        """Open the run's folder and say what is about to happen."""
        folder = RunFolder(settings.results_dir, _run_name(plan.run_id))
        report = cls(plan, store, folder, await asyncio.to_thread(content_hash, plan))
        parameters = plan.parameters
        get_run_logger().info(
            f"{plan.total} rollouts of {parameters.benchmark} by {parameters.agent}"
            + (f" ({parameters.model})" if parameters.model else "")
            + f" in {len(plan.lanes)} {parameters.backend} sandbox{'es' if len(plan.lanes) > 1 else ''}"
        )
        await store.begin_run(plan.run_id, folder.name, _series(plan), parameters.model_dump())
        await prefect_artifacts.tag_run(plan.run_id, parameters.tags)
        await report._progress.begin()
        return report

    async def progress(self, lane: int, progress: Progress) -> None:
        """How far a lane's eval job is."""
        await self._progress.update(lane, progress)

    def warn(self, message: str) -> None:
        """Something that does not change a score, but that somebody should know of."""
        get_run_logger().error(message)
        self._warnings.append(message)

    def keep_log(self, lane: int, log: str) -> None:
        """Keep what a lane's task app said last, since its sandbox is about to go."""
        path = self.folder.write_log(lane, log)
        get_run_logger().error(f"The task app's log: {path}")

    def note_versions(self, versions: Mapping[str, str]) -> None:
        """Which tools the sandboxes grade with."""
        self._versions |= versions

    async def conclude(self, lane_errors: Sequence[BaseException | None] | None) -> ResultDocument:
        """Write the result document and its artifacts; `lane_errors` is None where the run was cut short."""
        rows = await self._store.rows(self._plan.run_id)
        paths = {
            row.correlation_id: self.folder.write_artifacts(
                self._plan.rollout_name(row.seed), await self._store.artifacts(row.correlation_id)
            )
            for row in rows
        }
        ending = Ending(
            started_at=self._started_at,
            lane_errors=lane_errors,
            warnings=self._warnings,
            versions=self._versions,
            previous=await self._previous(),
        )
        result = result_document(
            self._plan, self.folder.name, self._benchmark_hash, rows=rows, artifacts=paths, ending=ending
        )
        self.folder.write_document(result)
        await self._store.conclude_run(self._plan.run_id, result.model_dump(mode="json"))
        get_run_logger().info(f"Results: {self.folder.document}")
        if lane_errors is not None:
            await prefect_artifacts.publish(result, self.folder)
            prefect_artifacts.tell_regression(result)
        return result

    async def _previous(self) -> ResultDocument | None:
        run = await self._store.previous_run(self._plan.run_id)
        try:
            return ResultDocument.model_validate(run.document) if run else None
        except ValidationError:
            return None  # written by a version with another schema: nothing to compare with


def _series(plan: Plan) -> str:
    """Runs that are alike in all of this are compared with each other."""
    asked = plan.parameters
    return " · ".join(
        (
            deployment.get_name() or "no deployment",
            asked.backend,
            asked.benchmark,
            asked.split,
            asked.agent,
            asked.model,
        )
    )


def _run_name(run_id: str) -> str:
    """The same for each retry of a flow run, and sorted by time."""
    context = FlowRunContext.get()
    created = context.flow_run.created if context and context.flow_run else None
    return f"{created or datetime.now(UTC):%Y%m%d-%H%M%S}-{run_id[:8]}"
