"""How a flow ends early: SIGTERM as a cancellation, and work that a cancellation has to wait for."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run

T = TypeVar("T")

LAST_WORDS = 30.0
"""Seconds that Prefect gets, once all is cleaned up, to tell its server of the end."""


class ProcessEnd:
    """Whether this process was told to end, by SIGTERM or Ctrl-C, and that it does."""

    def __init__(self) -> None:
        self._signal: signal.Signals | None = None

    @property
    def is_requested(self) -> bool:
        return self._signal is not None

    def request(self, number: signal.Signals) -> None:
        self._signal = number

    def hasten(self) -> None:
        """If it was told to: once the flow's own work is over, what is left is to tell Prefect."""
        if self._signal is not None:
            end_soon(128 + self._signal, _UNTOLD)


process_end = ProcessEnd()

_UNTOLD = (
    "Stopped. The sandboxes were cleaned up, and what was scored is kept. "
    "The Prefect server does not answer, so there the run may still count as running.\n"
)


def end_soon(code: int, last_words: str = "") -> None:
    """Have this process end within `LAST_WORDS`, by itself or else with this exit code.

    Prefect asks a server that is gone again and again, for minutes, and at the interpreter's exit once more.
    """

    def end() -> None:
        sys.stderr.write(last_words)
        sys.stderr.flush()
        os._exit(code)

    ending = threading.Timer(LAST_WORDS, end)
    ending.daemon = True
    ending.start()


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Await `work` to its end, however often the caller is cancelled meanwhile; the cancellation goes on afterwards."""
    working = asyncio.ensure_future(work)
    cancellation: asyncio.CancelledError | None = None
    while not working.done():
        try:
            await asyncio.wait([working])
        except asyncio.CancelledError as error:
            cancellation = error
    result = working.result()
    if cancellation:
        raise cancellation
    return result


@asynccontextmanager
async def cancelled_by_sigterm() -> AsyncIterator[None]:
    """While the block lasts, SIGTERM cancels it, and afterwards reaches Prefect as the exception that it expects.

    Prefect's own handler raises that exception in whatever callback the event loop happens to run, where it may end one
    lane as if its step had failed, or be swallowed altogether.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread alone
        return
    loop, block = asyncio.get_running_loop(), asyncio.current_task()
    received = asyncio.Event()

    def cancel() -> None:
        received.set()
        process_end.request(signal.SIGTERM)
        if block:
            block.cancel()

    before = signal.getsignal(signal.SIGTERM)
    loop.add_signal_handler(signal.SIGTERM, cancel)
    try:
        yield
    except asyncio.CancelledError:
        process_end.hasten()
        if not received.is_set():
            raise
        raise TerminationSignal(signal=signal.SIGTERM) from None
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, before)


async def cancel_requested() -> bool:
    """Whether this flow run is being cancelled, as against terminated by somebody who knows nothing of it."""
    try:
        async with get_client() as client:
            run = await client.read_flow_run(UUID(flow_run.get_id()))
    except httpx.HTTPError:
        return False  # a server that can't be asked has not asked for it either
    return run.state is not None and run.state.is_cancelling()
