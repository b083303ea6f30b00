"""What the lanes of a run share, and what happens around the seven steps: keys, logs, cleanup, another sandbox."""

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass

from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from pydantic import SecretStr

from core.errors import ConfigurationError, EngineBenchError
from core.keys import TaskAppKeys, task_app_keys
from core.redaction import redact
from core.settings import Settings
from flows import steps
from flows.evaluation import Evaluation
from flows.limits import Limit
from flows.plan import Lane, Plan
from flows.report import Report
from sandboxes.base import Backend, Sandbox
from sandboxes.bundle import Bundle

KEPT_LOG_LINES = 1000


@dataclass
class Spares:
    """How many sandboxes a run may still make in place of ones that it lost."""

    left: int

    def take(self) -> bool:
        self.left -= 1
        return self.left >= 0


@dataclass(frozen=True)
class Job:
    """What the lanes of a run share."""

    plan: Plan
    settings: Settings
    backend: Backend
    bundle: Bundle
    evaluation: Evaluation
    report: Report
    spares: Spares
    sandboxes: Limit
    """Over all runs."""
    starting: asyncio.Semaphore
    """So many sandboxes of this run at a time."""
    room: asyncio.Semaphore
    """For the run's sandboxes: where instances need different ones, there are more lanes than sandboxes at a time."""
    agent_environment: Mapping[str, SecretStr]

    def keys(self, lane: Lane) -> TaskAppKeys:
        if self.plan.parameters.task_app_url:
            return TaskAppKeys(_key_of_running_task_app(self.settings), nonce="")
        keys = task_app_keys(self.settings.data_dir, lane.spec.name)
        redact.hide(keys.api_key)
        return keys

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
            **self.agent_environment,
            **self._build_cache(),
            # the tasks of such a machine work in its own /app
            **({"ENGINE_BENCH_IMAGE_APP": SecretStr("/app")} if lane.spec.machine.dockerfile else {}),
        }

    def _build_cache(self) -> Mapping[str, SecretStr]:
        """Builds that outlive a sandbox, where that is a folder of this machine."""
        if self.plan.parameters.backend != "local":
            return {}
        return {
            "ENGINE_BENCH_BUILD_CACHE": SecretStr(str(self.settings.builds_dir)),
            "ENGINE_BENCH_BUILD_CACHE_LIMIT": SecretStr(str(self.settings.builds_limit)),
        }


async def specify(plan: Plan, backend: Backend, bundle: Bundle) -> Plan:
    """The plan with what its sandboxes can share, e.g. a snapshot, which is made once for all of them."""
    return plan.on({machine: await backend.prepare(machine, bundle, plan.tools) for machine in plan.machines})


async def replacement(lane: Lane, job: Job, reason: EngineBenchError) -> Lane | None:
    """The lane with another sandbox, None if there is nothing left for it to do.

    Raises:
        EngineBenchError: `reason`, where the run has no sandbox to spare.
    """
    if await job.evaluation.missing(lane) == 0:
        get_run_logger().info(f"Lane {lane.number} lost its sandbox, but the others have done its work.")
        return None
    if not job.spares.take():
        raise reason
    get_run_logger().warning(f"Lane {lane.number} lost its sandbox and goes on in another one. {reason}")
    return lane.with_another_sandbox()


async def keep_log(lane: Lane, job: Job, sandbox: Sandbox | None) -> None:
    """Save what a failed lane's task app said, before its sandbox goes."""
    if sandbox is None:
        return
    try:
        # at once: each takes half a minute where nobody answers
        said, installed = await asyncio.gather(
            job.backend.log(sandbox, lines=KEPT_LOG_LINES), job.backend.install_log(sandbox, lines=KEPT_LOG_LINES)
        )
    except EngineBenchError as error:
        job.report.warn(f"The logs of lane {lane.label} could not be read: {error}")
    else:
        for name, log in {"task-app": said, "install": installed}.items():
            if log:
                job.report.keep_log(f"{lane.spec.name}-{name}", redact(log))


async def clean_up(lane: Lane, job: Job, sandbox: Sandbox | None) -> None:
    """The last step. Its failure is reported, and does not hide what happened before it."""
    # Prefect's overload for `return_state` forgets that an async task has to be awaited
    cleanup: Awaitable[State[None]] = steps.cleanup(lane, job.backend, sandbox, return_state=True)  # type: ignore[assignment]
    state = await cleanup
    if not state.is_completed():
        job.report.warn(f"Sandbox {lane.spec.name} of lane {lane.label} may be left behind: {state.message}")


def _key_of_running_task_app(settings: Settings) -> SecretStr:
    if settings.environment_api_key is None:
        raise ConfigurationError(
            "ENVIRONMENT_API_KEY is not set. Set it to the key of the task app that --task-app-url names."
        )
    return settings.environment_api_key
