"""`python -m toolbox --socket PATH --workdir DIR [--egress PATH]`; prints `ready` once it accepts requests."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from . import files, ports, process, session_routes
from .errors import ToolboxError, answer_os_error, answer_toolbox_error

VERSION = "0.226.1-emulator"


async def home(request: Request) -> JSONResponse:
    return JSONResponse({"dir": os.environ["HOME"]})


async def working_directory(request: Request) -> JSONResponse:
    return JSONResponse({"dir": os.getcwd()})


async def version(request: Request) -> JSONResponse:
    return JSONResponse({"version": VERSION})


def build_app(egress: str | None) -> Starlette:
    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.sessions = {}
        async with contextlib.AsyncExitStack() as stack:
            app.state.client = await stack.enter_async_context(httpx.AsyncClient(timeout=None, trust_env=False))
            if egress:
                await stack.enter_async_context(await ports.serve_egress(egress))
            yield

    info = [
        Route("/user-home-dir", home, methods=["GET"]),
        Route("/work-dir", working_directory, methods=["GET"]),
        Route("/version", version, methods=["GET"]),
    ]
    return Starlette(
        lifespan=lifespan,
        routes=[*info, *process.routes, *session_routes.routes, *files.routes, *ports.routes],
        exception_handlers={ToolboxError: answer_toolbox_error, OSError: answer_os_error},
    )


class AnnouncingServer(uvicorn.Server):
    """Says `ready` on standard output, which is what the emulator waits for."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        print("ready", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="toolbox")
    parser.add_argument("--socket", required=True)
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--egress")
    options = parser.parse_args(arguments)
    for directory in (options.workdir, os.environ["HOME"]):
        Path(directory).mkdir(parents=True, exist_ok=True)
    os.chdir(options.workdir)
    config = uvicorn.Config(build_app(options.egress), log_level="warning", ws="websockets-sansio")
    asyncio.run(
        AnnouncingServer(config).serve([_listening(options.socket), socket.create_server(("", ports.TOOLBOX_PORT))])
    )


def _listening(path: str) -> socket.socket:
    Path(path).unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    return listening


if __name__ == "__main__":
    main()
