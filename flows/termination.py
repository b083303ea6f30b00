"""How a flow ends early: SIGTERM as a cancellation, and work that a cancellation has to wait for."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run

T = TypeVar("T")


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
        if block:
            block.cancel()

    before = signal.getsignal(signal.SIGTERM)
    loop.add_signal_handler(signal.SIGTERM, cancel)
    try:
        yield
    except asyncio.CancelledError:
        if not received.is_set():
            raise
        raise TerminationSignal(signal=signal.SIGTERM) from None
    finally:
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, before)


async def cancel_requested() -> bool:
    """Whether this flow run is being cancelled, as against terminated by somebody who knows nothing of it."""
    async with get_client() as client:
        run = await client.read_flow_run(UUID(flow_run.get_id()))
    return run.state is not None and run.state.is_cancelling()
