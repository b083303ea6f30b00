"""Runs an ASGI app with uvicorn inside this process, on a free loopback port."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import uvicorn

from core.errors import InfrastructureError


class _Server(uvicorn.Server):
    """A uvicorn that tells when it is ready and leaves the process's signal handlers alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _NoCancellations(logging.Filter):
    """Leaves out that a request was cut off as the run was: that is no error, and its traceback tells nothing."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


_NO_CANCELLATIONS = _NoCancellations()


@asynccontextmanager
async def serve_app(app: Any) -> AsyncIterator[str]:
    """The base URL under which `app` is served while the block lasts."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # asyncio does so only for sockets that it made itself; without, each answer takes 40 ms longer
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        config = uvicorn.Config(
            app, lifespan="off", timeout_graceful_shutdown=1, log_config=None, log_level="warning", access_log=False
        )
        logging.getLogger("uvicorn.error").addFilter(_NO_CANCELLATIONS)
        server = _Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        serving.add_done_callback(lambda _: server.ready.set())
        try:
            await server.ready.wait()
            if serving.done():
                raise InfrastructureError(f"The eval service could not start: {serving.exception()!r}. Run again.")
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await asyncio.wait([serving])
