"""Getting ready in the background, so that the server answers at once and can say how far it is."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Literal

from task_app.errors import InfrastructureFailure

logger = logging.getLogger(__name__)


class Warmup:
    """One preparation that everything else waits for. It is done once and either succeeds or fails for good."""

    def __init__(self, warm: Callable[[], Awaitable[None]]) -> None:
        self._warm = warm
        self._task: asyncio.Task[None] | None = None
        self.status: Literal["starting", "ok", "failed"] = "starting"
        self.detail: str | None = None
        """Why it failed."""

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="warm-up")

    async def ready(self) -> None:
        """Wait until it is done. Raises InfrastructureFailure if it failed."""
        if self._task is not None:
            await asyncio.shield(self._task)
        if self.status != "ok":
            raise InfrastructureFailure(f"The task app is not ready: {self.detail or 'it was not started'}")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        try:
            await self._warm()
        except InfrastructureFailure as error:
            self.status, self.detail = "failed", str(error)
            logger.error("Not ready: %s", error)
        except Exception as error:
            self.status, self.detail = (
                "failed",
                f"unexpected {type(error).__name__}; the task app's log has the details.",
            )
            logger.exception("Getting ready failed unexpectedly.")
        else:
            self.status = "ok"
            logger.info("Ready.")
