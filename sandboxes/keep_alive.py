"""A heartbeat for a sandbox that is at work while nothing is said to it."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from core.errors import EngineBenchError
from sandboxes.base import Backend, Sandbox

EVERY = 300.0
"""Seconds; several beats fit into the time after which any backend takes a sandbox for idle."""

logger = logging.getLogger(__name__)


@asynccontextmanager
async def kept_alive(backend: Backend, sandbox: Sandbox, every: float = EVERY) -> AsyncIterator[None]:
    """Meanwhile the sandbox counts as in use. A beat that fails is reported; the next one may do."""
    beating = asyncio.create_task(_beat(backend, sandbox, every))
    try:
        yield
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


async def _beat(backend: Backend, sandbox: Sandbox, every: float) -> None:
    while True:
        await asyncio.sleep(every)
        try:
            await backend.keep_alive(sandbox)
        except EngineBenchError as error:
            logger.warning("Sandbox %s may be taken for idle: %s", sandbox.name, error)
