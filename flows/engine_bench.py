"""The flow: score a coding agent on EngineBench, in seven steps per lane."""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from pydantic import SecretStr

from core.errors import ConfigurationError, EngineBenchError
from core.keys import TaskAppKeys, task_app_keys
from core.settings import Settings
from evals.store import Store, open_store
from flows import steps
from flows.evaluation import Evaluation, open_evaluation
from flows.logs import rooms_log_to_the_run
from flows.parameters import Parameters, form
from flows.plan import Lane, Plan, make_plan, pack
from flows.report import Report
from flows.result import ResultDocument
from flows.termination import cancelled_by_sigterm, to_its_end
from sandboxes import open_backend
from sandboxes.base import Backend, Sandbox
from sandboxes.bundle import Bundle
from sandboxes.running import RunningTaskApp

KEPT_LOG_LINES = 1000


class RunIncomplete(EngineBenchError):
    """The run ended without a score for each of its rollouts; `result` holds what there is."""

    def __init__(self, result: ResultDocument) -> None:
        super().__init__(result.error.message if result.error else result.status)
        self.result = result


@dataclass(frozen=True)
class Job:
    """What the lanes of a run share."""

    plan: Plan
    settings: Settings
    backend: Backend
    bundle: Bundle
    evaluation: Evaluation
    report: Report

    def keys(self, lane: Lane) -> TaskAppKeys:
        if self.plan.parameters.task_app_url:
            return TaskAppKeys(_key_of_running_task_app(self.settings), nonce="")
        return task_app_keys(self.settings.data_dir, lane.spec.name)

    def environment(self, lane: Lane) -> Mapping[str, SecretStr]:
        """What the lane's task app is told, its key among it."""
        keys, parameters = self.keys(lane), self.plan.parameters
        return {
            "ENVIRONMENT_API_KEY": keys.api_key,
            "ENGINE_BENCH_NONCE": SecretStr(keys.nonce),
            "ENGINE_BENCH_BENCHMARK_NAME": SecretStr(parameters.benchmark),
            "ENGINE_BENCH_SLOTS": SecretStr(str(parameters.concurrency)),
            # the sandbox has a copy of its own: what an agent must not see need not stay on its disk
            "ENGINE_BENCH_SEAL": SecretStr("1"),
        }


def name_run() -> str:
    """Called by Prefect once the parameters of a run are known."""
    return Parameters.model_validate(flow_run.get_parameters()).title


@flow(name="engine-bench", flow_run_name=name_run)
@form(Parameters)
async def engine_bench(parameters: Parameters) -> ResultDocument:
    """Score a coding agent on EngineBench: each lane makes a sandbox, evaluates its share, and cleans up."""
    settings = Settings()
    plan = make_plan(parameters, str(flow_run.get_id()), settings)
    with rooms_log_to_the_run():
        async with cancelled_by_sigterm(), open_store(settings.resolved_store_url) as store:
            return await score(plan, settings, store)


async def score(plan: Plan, settings: Settings, store: Store) -> ResultDocument:
    """Run the plan and report on it.

    Raises:
        RunIncomplete: some rollouts have no score.
    """
    report = await Report.begin(plan, settings, store)
    lane_errors: list[BaseException | None] | None = None
    try:
        lane_errors = await run_lanes(plan, settings, store, report)
    except Exception as error:
        lane_errors = [error] * len(plan.lanes)
        raise
    finally:
        # also when cancelled: what was scored until then is in the document
        result = await to_its_end(report.conclude(lane_errors))
    if result.status != "completed":
        raise RunIncomplete(result)
    return result


async def run_lanes(plan: Plan, settings: Settings, store: Store, report: Report) -> list[BaseException | None]:
    """Run all lanes side by side, and return for each the error that ended it, if one did."""
    url = plan.parameters.task_app_url
    backend = RunningTaskApp(url) if url else open_backend(plan.parameters.backend, settings)
    async with open_evaluation(plan, settings, store, report) as evaluation:
        job = Job(plan, settings, backend, await asyncio.to_thread(pack, plan), evaluation, report)
        return await asyncio.gather(*(run_lane(lane, job) for lane in plan.lanes), return_exceptions=True)


async def run_lane(lane: Lane, job: Job) -> None:
    """The seven steps of one sandbox. Cleanup runs whatever happened before it, cancellation included."""
    sandbox: Sandbox | None = None
    try:
        sandbox = await steps.provision(lane, job.backend)
        sandbox = await steps.upload(lane, job.backend, sandbox, job.bundle)
        sandbox = await steps.install(lane, job.backend, sandbox, job.plan.tools)
        sandbox = await steps.start(lane, job.backend, sandbox, job.environment(lane))
        sandbox = await steps.health(lane, job.backend, sandbox, job.keys(lane))
        sandbox = await steps.evaluate(lane, job.backend, sandbox, job.evaluation, job.keys(lane))
    except Exception:
        await keep_log(lane, job, sandbox)
        raise
    finally:
        await to_its_end(clean_up(lane, job, sandbox))


async def keep_log(lane: Lane, job: Job, sandbox: Sandbox | None) -> None:
    """Save what a failed lane's task app said, before its sandbox goes."""
    if sandbox is None:
        return
    try:
        log = await job.backend.log(sandbox, lines=KEPT_LOG_LINES)
    except EngineBenchError as error:
        job.report.warn(f"The log of lane {lane.number} could not be read: {error}")
    else:
        if log:
            job.report.keep_log(lane.number, log)


async def clean_up(lane: Lane, job: Job, sandbox: Sandbox | None) -> None:
    """The last step. Its failure is reported, and does not hide what happened before it."""
    # Prefect's overload for `return_state` forgets that an async task has to be awaited
    cleanup: Awaitable[State[None]] = steps.cleanup(lane, job.backend, sandbox, return_state=True)  # type: ignore[assignment]
    state = await cleanup
    if not state.is_completed():
        job.report.warn(f"Sandbox {lane.spec.name} of lane {lane.number} may be left behind: {state.message}")


def _key_of_running_task_app(settings: Settings) -> SecretStr:
    if settings.environment_api_key is None:
        raise ConfigurationError(
            "ENVIRONMENT_API_KEY is not set. Set it to the key of the task app that --task-app-url names."
        )
    return settings.environment_api_key
