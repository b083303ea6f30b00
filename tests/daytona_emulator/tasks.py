"""Background work that ends with its owner, and work that takes a given time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from typing import Any

logger = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def lasting(seconds: float) -> AsyncIterator[None]:
    """Stretch the block to that length, in success and in failure; a block that takes longer is left alone."""
    clock = asyncio.get_running_loop().time
    end = clock() + seconds
    try:
        yield
    except Exception:
        await asyncio.sleep(max(0, end - clock()))
        raise
    await asyncio.sleep(max(0, end - clock()))


class Tasks:
    """Tasks that are held until they are done, and whose failures are logged."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._finished)
        return task

    async def cancel(self) -> None:
        """Cancel what still runs, and wait for it."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and task.exception():
            logger.error("a background task of the emulator failed", exc_info=task.exception())
