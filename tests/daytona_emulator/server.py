"""The emulator's HTTP server."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import uvicorn

from .app import build_app
from .isolation import Isolation
from .settings import Settings
from .world import World


class Server(uvicorn.Server):
    """Prints a line once it accepts requests, and may end with its standard input."""

    def __init__(self, config: uvicorn.Config, announcement: str) -> None:
        super().__init__(config)
        self._announcement = announcement

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print(self._announcement, flush=True)

    def exit_with_stdin(self) -> None:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), self._read_stdin)

    def _read_stdin(self) -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            self.should_exit = True


async def serve(
    settings: Settings,
    base_url: str,
    isolation: Isolation,
    directory: Path,
    listener: socket.socket,
    announcement: str,
    until_stdin_closes: bool,
) -> None:
    """Serve on the listener until a signal, or the end of standard input, asks for the end."""
    world = World.create(settings, base_url, isolation, directory)
    config = uvicorn.Config(
        build_app(world), log_level="warning", lifespan="on", ws="websockets-sansio", timeout_graceful_shutdown=1
    )
    server = Server(config, announcement)
    if until_stdin_closes:
        server.exit_with_stdin()
    await server.serve([listener])
