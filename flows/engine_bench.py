"""The flow: score a coding agent on EngineBench, in seven steps per sandbox."""

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext

from prefect import State, flow
from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run
from prefect.states import Cancelled

from core.errors import EngineBenchError
from core.redaction import redact
from core.settings import Settings
from evals.store import Store, open_store
from flows import steps
from flows.agent_needs import agent_environment
from flows.credentials import with_daytona_credentials
from flows.evaluation import SandboxUnfit, open_evaluation
from flows.hooks import remove_own_sandboxes
from flows.lanes import Job, Spares, clean_up, keep_log, replacement, specify
from flows.limits import Limit, sandboxes_of
from flows.logs import keep_run_logs_short, outlive_listeners, rooms_log_to_the_run
from flows.parameters import Parameters, form
from flows.plan import Lane, Plan, pack
from flows.report import Report
from flows.result import ResultDocument
from flows.resumption import plan_run
from flows.termination import cancel_requested, cancelled_by_sigterm, to_its_end
from sandboxes import opened_backend
from sandboxes.base import Backend, Sandbox, SandboxUnusable
from sandboxes.running import RunningTaskApp


class RunIncomplete(EngineBenchError):
    """The run ended without a score for each of its rollouts; `result` holds what there is."""

    def __init__(self, result: ResultDocument) -> None:
        super().__init__(result.error.message if result.error else result.status)
        self.result = result


def name_run() -> str:
    """Called by Prefect once the parameters of a run are known."""
    return Parameters.model_validate(flow_run.get_parameters()).title


@flow(
    name="engine-bench",
    flow_run_name=name_run,
    on_failure=[remove_own_sandboxes],
    on_crashed=[remove_own_sandboxes],
    on_cancellation=[remove_own_sandboxes],
)
@form(Parameters)
async def engine_bench(parameters: Parameters) -> ResultDocument | State[ResultDocument]:
    """Score a coding agent on EngineBench: each lane makes a sandbox, evaluates its share, and cleans up."""
    settings = Settings()
    redact.hide(*settings.secrets)
    keep_run_logs_short()
    outlive_listeners()
    try:
        with redact.guarding_logs(), rooms_log_to_the_run():
            async with cancelled_by_sigterm(), open_store(settings.resolved_store_url) as store:
                plan = await plan_run(parameters, settings, store)
                redact.hide(*plan.secrets)
                return await score(plan, await with_backend_keys(settings, plan), store)
    except TerminationSignal:
        # else Prefect marks a run that somebody cancels as Crashed first, which notifies and sweeps
        if await cancel_requested():
            return Cancelled(message="Its sandboxes were cleaned up, and what was scored is kept.")
        raise


async def with_backend_keys(settings: Settings, plan: Plan) -> Settings:
    """The settings, completed for the plan's backend: that of a resumed run is not among the flow run's parameters."""
    if plan.parameters.backend != "daytona":
        return settings
    settings = await with_daytona_credentials(settings)
    redact.hide(*settings.secrets)
    return settings


async def run_sandbox(lane: Lane, job: Job) -> None:
    """The seven steps of one sandbox. Cleanup runs whatever happened before it, cancellation included."""
    sandbox: Sandbox | None = None
    try:
        async with job.starting:
            sandbox = await steps.provision(lane, job.backend)
            sandbox = await steps.upload(lane, job.backend, sandbox, job.bundle)
            sandbox = await steps.install(lane, job.backend, sandbox, job.plan.tools)
            sandbox = await steps.start(lane, job.backend, sandbox, job.environment(lane))
            sandbox = await steps.health(lane, job.backend, sandbox, job.keys(lane))
        sandbox = await steps.evaluate(lane, job.backend, sandbox, job.evaluation, job.keys(lane))
    except SandboxUnusable:
        raise  # nor is there anybody to ask for its logs
    except Exception:
        await keep_log(lane, job, sandbox)
        raise
    finally:
        await to_its_end(clean_up(lane, job, sandbox))


async def run_lane(lane: Lane, job: Job) -> None:
    """One sandbox after the other, as long as there is work, sandboxes get lost, and the run may make new ones."""
    current: Lane | None = lane
    while current:
        try:
            async with job.room, job.sandboxes.slot():
                if await job.evaluation.missing(current):  # it may have waited for long
                    await run_sandbox(current, job)
        except (SandboxUnfit, SandboxUnusable) as lost:
            current = await replacement(current, job, lost)
        else:
            break


async def run_lanes(plan: Plan, settings: Settings, store: Store, report: Report) -> list[BaseException | None]:
    """Run all lanes side by side, and return for each the error that ended it, if one did."""
    needs = agent_environment(plan.parameters, settings)
    bundle = await asyncio.to_thread(pack, plan)
    async with (
        backend_of(plan.parameters, settings) as backend,
        open_evaluation(plan, settings, store, report) as evaluation,
    ):
        plan = await specify(plan, backend, bundle)
        limit = await Limit.find(sandboxes_of(backend.name))
        spares = Spares(max(2, len(plan.lanes) // 2))
        starting, room = asyncio.Semaphore(backend.starts_at_a_time), asyncio.Semaphore(plan.parameters.sandboxes)
        job = Job(plan, settings, backend, bundle, evaluation, report, spares, limit, starting, room, needs)
        return await asyncio.gather(*(run_lane(lane, job) for lane in plan.lanes), return_exceptions=True)


def backend_of(parameters: Parameters, settings: Settings) -> AbstractAsyncContextManager[Backend]:
    """The backend that the parameters ask for, hung up at the end."""
    if parameters.task_app_url:
        return nullcontext(RunningTaskApp(parameters.task_app_url))
    return opened_backend(parameters.backend, settings)


async def score(plan: Plan, settings: Settings, store: Store) -> ResultDocument:
    """Run the plan and report on it.

    Raises:
        RunIncomplete: some rollouts have no score.
    """
    async with Report.begun(plan, settings, store) as report:
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
