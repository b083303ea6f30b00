"""The seven steps of a lane, as Prefect tasks: what each does, how long it may take, and how often it is tried again.

Every step hands the sandbox on, since Prefect draws the run's graph from the data that passes between tasks.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypedDict

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_run_logger
from prefect.tasks import exponential_backoff
from pydantic import SecretStr

from core.errors import EngineBenchError, InfrastructureError
from core.keys import TaskAppKeys
from flows.evaluation import Evaluation, SandboxLost, SandboxUnfit
from flows.plan import Lane
from sandboxes.base import Backend, Sandbox, SandboxUnusable
from sandboxes.bundle import Bundle

HEARTBEAT = 120
"""Seconds between signs of life; Daytona stops a sandbox after minutes without any."""


async def worth_a_retry(_task: Task[Any, Any], _run: TaskRun, state: State[Any]) -> bool:
    """Infrastructure failures and time-outs are; a wrong parameter or a missing binary fails the same way again.

    Nor is it of any use to wait for a sandbox that is lost: the lane goes on in another one.
    """
    error = await state.aresult(raise_on_failure=False)
    return isinstance(error, InfrastructureError | TimeoutError) and not isinstance(
        error, SandboxLost | SandboxUnusable
    )


class _Policy(TypedDict):
    retries: int
    retry_delay_seconds: Callable[[int], list[float]]
    retry_jitter_factor: float
    retry_condition_fn: Callable[[Task[Any, Any], TaskRun, State[Any]], Any]
    timeout_seconds: float | None
    task_run_name: str
    cache_policy: Any
    persist_result: bool


def _policy(step: str, *, retries: int, backoff: float, timeout: float | None) -> _Policy:
    """A step's Prefect options; `backoff` is the first delay and `timeout` one try's limit, both in seconds."""
    return _Policy(
        retries=retries,
        retry_delay_seconds=exponential_backoff(backoff),
        retry_jitter_factor=0.5,
        retry_condition_fn=worth_a_retry,
        timeout_seconds=timeout,
        task_run_name=f"{step} · lane {{lane.label}}",
        # A retried flow run must look at the world again; what was finished is in the results store.
        cache_policy=NO_CACHE,
        persist_result=False,
    )


@task(name="provision", **_policy("provision", retries=3, backoff=2, timeout=600))
async def provision(lane: Lane, backend: Backend) -> Sandbox:
    """Make the lane's sandbox, or adopt the one that an earlier try left."""
    return await backend.provision(lane.spec)


@task(name="upload", **_policy("upload", retries=3, backoff=1, timeout=300))
async def upload(lane: Lane, backend: Backend, sandbox: Sandbox, bundle: Bundle) -> Sandbox:
    """Bring the task app and the benchmark into the sandbox."""
    await backend.upload(sandbox, bundle)
    return sandbox


@task(name="install", **_policy("install", retries=2, backoff=5, timeout=900))
async def install(lane: Lane, backend: Backend, sandbox: Sandbox, tools: tuple[str, ...]) -> Sandbox:
    """Make sure that the task app's requirements and the benchmark's tools are there."""
    await backend.install(sandbox, tools)
    return sandbox


@task(name="start", **_policy("start", retries=2, backoff=1, timeout=60))
async def start(lane: Lane, backend: Backend, sandbox: Sandbox, environment: Mapping[str, SecretStr]) -> Sandbox:
    """Start the task app."""
    return await backend.start(sandbox, environment)


@task(name="health", **_policy("health", retries=1, backoff=2, timeout=None))
async def health(lane: Lane, backend: Backend, sandbox: Sandbox, keys: TaskAppKeys) -> Sandbox:
    """Wait until the task app has warmed its grading slots and answers as ours."""
    await backend.health(sandbox, keys.nonce, timeout=300)
    return sandbox


@task(name="eval", **_policy("eval", retries=2, backoff=2, timeout=None))
async def evaluate(
    lane: Lane, backend: Backend, sandbox: Sandbox, evaluation: Evaluation, keys: TaskAppKeys
) -> Sandbox:
    """Run the lane's eval job; a second try attaches to the job, or asks only for what has no score yet."""
    try:
        endpoint = await backend.endpoint(sandbox, public_for=evaluation.public_for(lane))
    except SandboxUnusable as error:
        raise SandboxLost(str(error)) from error
    except InfrastructureError as error:
        raise SandboxUnfit(str(error)) from error
    async with kept_alive(backend, sandbox):
        await evaluation.run(lane, endpoint, keys.api_key)
    return sandbox


@asynccontextmanager
async def kept_alive(backend: Backend, sandbox: Sandbox) -> AsyncIterator[None]:
    """Show from time to time that the sandbox is in use: what goes on inside of it does not count as use."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            try:
                await backend.keep_alive(sandbox)
            except EngineBenchError as error:
                get_run_logger().warning(f"Could not keep sandbox {sandbox.name} alive: {error}")

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.wait([beating])


@task(name="cleanup", **_policy("cleanup", retries=3, backoff=1, timeout=120))
async def cleanup(lane: Lane, backend: Backend, sandbox: Sandbox | None) -> None:
    """Remove the sandbox, whatever happened before. Goes by the lane, since `provision` may have failed half-way."""
    await backend.cleanup(lane.spec)
