"""A run's report: progress while it runs, and when it ends the result document, on disk and in the Prefect UI."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from prefect.logging import get_run_logger
from prefect.runtime import deployment
from pydantic import ValidationError

from core.errors import ConfigurationError, InfrastructureError
from core.settings import Settings
from evals.models import Progress
from evals.store import Store, StoredRun
from flows import prefect_artifacts
from flows.document import Ending, Former, result_document
from flows.plan import Plan, content_hash
from flows.prefect_artifacts import LiveProgress
from flows.result import ResultDocument
from flows.run_folder import RunFolder, short_id


class Report:
    """Collects what the lanes tell, and concludes it once."""

    def __init__(self, plan: Plan, store: Store, folder: RunFolder, run: StoredRun) -> None:
        self.folder = folder
        self._plan = plan
        self._store = store
        self._run = run
        self._progress = LiveProgress(plan)
        self._warnings: list[str] = []
        self._versions: dict[str, str] = dict((run.document or {}).get("versions", {}))

    @classmethod
    @asynccontextmanager
    async def begun(cls, plan: Plan, settings: Settings, store: Store) -> AsyncIterator["Report"]:
        """Write down that the run begins, and say what is about to happen. Inside, nobody else works on the run.

        Raises:
            ConfigurationError: it still goes on, or has begun before on a benchmark with another content.
        """
        run = await _begun(plan, store)
        folder = RunFolder(settings.results_dir, run.name)
        with folder.held():
            get_run_logger().info(_announcement(plan))
            report = cls(plan, store, folder, run)
            await prefect_artifacts.describe_run(plan)
            await report._progress.begin()
            yield report

    async def progress(self, lane: int, progress: Progress) -> None:
        """How far a lane's eval job is."""
        await self._progress.update(lane, progress)

    def warn(self, message: str) -> None:
        """Something that does not change a score, but that somebody should know of."""
        get_run_logger().error(message)
        self._warnings.append(message)

    def keep_log(self, name: str, log: str) -> None:
        """Keep what was said in a sandbox that is about to go."""
        get_run_logger().error(f"Kept a log: {self.folder.write_log(name, log)}")

    def note_versions(self, versions: Mapping[str, str]) -> None:
        """Which tools the sandboxes grade with."""
        self._versions |= versions

    async def conclude(self, lane_errors: Sequence[BaseException | None] | None) -> ResultDocument:
        """Write the result document and its artifacts; `lane_errors` is None where the run was cut short.

        Raises:
            InfrastructureError: they can't be written.
        """
        try:
            return await self._conclude(lane_errors)
        except OSError as error:
            raise InfrastructureError(
                f"The results can't be written to {self.folder.path}: {error.strerror}. "
                "Make room there and resume the run: what was scored is in the results store."
            ) from error

    async def _conclude(self, lane_errors: Sequence[BaseException | None] | None) -> ResultDocument:
        rows = await self._store.rows(self._plan.run_id)
        paths = {
            row.correlation_id: self.folder.write_artifacts(
                self._plan.rollout_name(row.seed), await self._store.artifacts(row.correlation_id)
            )
            for row in rows
        }
        ending = Ending(
            started_at=self._run.created_at,
            lane_errors=lane_errors,
            warnings=self._warnings,
            versions=self._versions,
            previous=await self._previous(),
            former=await self._former(),
        )
        result = result_document(
            self._plan, self._run.name, self._run.content_hash, rows=rows, artifacts=paths, ending=ending
        )
        self.folder.write_document(result)
        await self._store.conclude_run(self._plan.run_id, result.model_dump(mode="json"))
        get_run_logger().info(f"Results: {self.folder.document}")
        if lane_errors is not None:
            await prefect_artifacts.publish(result, self.folder)
            if not result.rescored:
                prefect_artifacts.tell_regression(result)
        return result

    async def _former(self) -> Former | None:
        """The run that was graded again, if one was."""
        run = await self._store.find_run(rescored) if (rescored := self._plan.parameters.rescore) else None
        if run is None:
            return None
        rows = [row for row in await self._store.rows(run.id) if row.reward is not None]
        return Former(run.name, [row.model_copy(update={"instance": self._plan.locate(row.seed)[0]}) for row in rows])

    async def _previous(self) -> ResultDocument | None:
        run = await self._store.previous_run(self._plan.run_id)
        try:
            return ResultDocument.model_validate(run.document) if run else None
        except ValidationError:
            return None  # written by a version with another schema: nothing to compare with


async def _begun(plan: Plan, store: Store) -> StoredRun:
    """The run as it is written down, now or when it began first.

    Raises:
        ConfigurationError: it has begun before, on a benchmark with another content.
    """
    parameters, benchmark_hash = plan.parameters, await asyncio.to_thread(content_hash, plan)
    now = datetime.now(UTC)
    run = await store.begin_run(
        StoredRun(
            id=plan.run_id,
            name=f"{now:%Y%m%d-%H%M%S}-{short_id(plan.run_id)}",
            series=series_of(plan),
            content_hash=benchmark_hash,
            parameters=parameters.model_dump(),
            document=None,
            created_at=now,
        )
    )
    if run.content_hash != benchmark_hash:
        raise ConfigurationError(
            f"The benchmark {parameters.benchmark} has changed since run {run.name} began, "
            "so their scores can't be mixed. Start a new run, or bring the benchmark back to what it was."
        )
    return run


def _announcement(plan: Plan) -> str:
    parameters = plan.parameters
    return (
        f"{plan.total} rollouts of {parameters.benchmark} by {parameters.agent}"
        + (", graded again without the agent" if parameters.rescore else "")
        + (f" ({parameters.model})" if parameters.model else "")
        + (f", {plan.already_scored} of them scored already" if plan.already_scored else "")
        + f", in {len(plan.lanes)} {parameters.backend} sandbox{'' if len(plan.lanes) == 1 else 'es'}"
    )


def series_of(plan: Plan) -> str:
    """Runs that are alike in all of this are compared with each other.

    Neither instances nor attempts are in it, since a comparison pairs what both runs have scored, nor is how the work
    was spread: sandboxes, concurrency, their machines.
    """
    asked = plan.parameters
    return " · ".join(
        (
            deployment.get_name() or "no deployment",
            asked.backend,
            asked.benchmark,
            asked.split,
            asked.agent,
            asked.model,
            _conditions(plan),
            *(["rescored"] if asked.rescore else []),
        )
    )


CONDITIONS = {"agent_command", "inference_url", "internet", "max_turns", "system_prompt", "timeout"}
"""Parameters under which an agent works: with another value it is not the same that is measured."""


def _conditions(plan: Plan) -> str:
    """Digest of the conditions under which the agent works, the content of its context among them."""
    conditions = plan.parameters.model_dump(include=CONDITIONS)
    # not its folder's name, which says nothing
    context = plan.context.model_dump(exclude={"override_id"}) if plan.context else None
    told = json.dumps(conditions | {"context": context}, sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()[:16]
