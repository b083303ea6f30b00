"""Runs the flow in this process for the command line: finds the Prefect server, shows progress, sets the exit code."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from types import FrameType
from typing import Any, TypeVar

import httpx
from rich.console import Console

from core.errors import InfrastructureError
from core.settings import Settings
from flows import console
from flows.api import Api, ensured_api
from flows.engine_bench import RunIncomplete, engine_bench
from flows.exit_codes import BELOW_MINIMUM, FAILED, INTERRUPTED, OK, TERMINATED
from flows.parameters import Parameters
from flows.plan import make_plan
from flows.result import ResultDocument
from flows.termination import end_soon, process_end

Outcome = TypeVar("Outcome")


class Terminated(BaseException):
    """SIGTERM has arrived, as KeyboardInterrupt says it of SIGINT."""


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


def run(parameters: Parameters, *, min_reward: float | None, as_json: bool) -> int:
    """Run one eval and return the exit code.

    Raises:
        EngineBenchError: the run could not begin.
    """
    # What can't be begun is told at once: neither a server nor a flow run of it is of any use then.
    if not (parameters.resume or parameters.rescore):
        make_plan(parameters, "none", Settings())
    result, code = conduct(lambda: _score(parameters), parameters.backend)
    if result is None:
        return code
    if as_json:
        sys.stdout.write(result.model_dump_json(indent=2) + "\n")
    else:
        stdout = Console()
        if result.counts.scored:
            stdout.print(console.table(result))
        stdout.print(console.summary(result), highlight=False, markup=False, soft_wrap=True)
    if code == OK and min_reward is not None and (result.mean_reward or 0) < min_reward:
        Console(stderr=True).print(
            f"[red]Mean reward {result.mean_reward:.3f} is below the minimum of {min_reward}.[/]"
        )
        return BELOW_MINIMUM
    return code


def conduct(
    flow_run: Callable[[], Coroutine[Any, Any, tuple[Outcome, int]]], backend: str
) -> tuple[Outcome | None, int]:
    """Run a flow from a terminal; returns its outcome and exit code, no outcome where it was stopped.

    The backend's module is imported before the flow begins.

    Raises:
        EngineBenchError: the run could not begin, or lost its Prefect server for good.
    """
    stderr = Console(stderr=True)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        with ThreadPoolExecutor(max_workers=1) as pool:
            # An SDK takes a second to import, as does the server to be started.
            loading = pool.submit(import_module, f"sandboxes.{backend}")
            api = _api(stderr)
        loading.result()
        with api.in_use(), console.live(stderr):
            return asyncio.run(_cancelled_by_ctrl_c(flow_run()))
    # Ctrl-C comes as a cancellation from within the flow, as an interrupt from before it
    except (KeyboardInterrupt, asyncio.CancelledError, Terminated) as ending:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        process_end.hasten()
        stderr.print("[yellow]Stopped.[/] The sandboxes were cleaned up, and what was scored is kept.")
        return None, TERMINATED if isinstance(ending, Terminated) else INTERRUPTED
    except httpx.HTTPError as error:
        end_soon(FAILED)
        raise InfrastructureError(
            f"The Prefect server does not answer any more ({type(error).__name__}). The sandboxes were cleaned up, and "
            "what was scored is kept: resume the run once the server is back."
        ) from None


async def _cancelled_by_ctrl_c(flow_run: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Once: what follows is the cleanup, and Prefect's report of the end, neither of which another Ctrl-C may break."""
    loop, this = asyncio.get_running_loop(), asyncio.current_task()
    assert this

    def cancel(_number: int, _frame: FrameType | None) -> None:
        if process_end.is_requested:
            os.write(sys.stderr.fileno(), b"Still stopping.\n")
            return
        process_end.request(signal.SIGINT)
        loop.call_soon_threadsafe(this.cancel)

    # not the loop's own handler, which would be gone before this process is
    before = signal.signal(signal.SIGINT, cancel)
    try:
        return await flow_run
    finally:
        if not process_end.is_requested:
            signal.signal(signal.SIGINT, before)


async def _score(parameters: Parameters) -> tuple[ResultDocument, int]:
    try:
        return await engine_bench(**parameters.model_dump()), OK
    except RunIncomplete as error:
        return error.result, FAILED


def _api(stderr: Console) -> Api:
    api = ensured_api(Settings(), announce=lambda line: stderr.print(line, highlight=False))
    if api.local:
        stderr.print(f"Prefect UI: {api.ui_url}", highlight=False)
    return api
