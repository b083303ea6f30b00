"""One-off commands: /process/execute."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from .errors import ToolboxError, json_body

SHELL = next(path for path in ("/bin/bash", "/bin/sh") if Path(path).exists())


def required_text(body: Mapping[str, object], field: str) -> str:
    """The field's text; 400 if it is missing or blank."""
    value = body.get(field)
    if not isinstance(value, str) or not value.strip():
        raise ToolboxError(400, f"{field} cannot be empty or whitespace-only")
    return value


def _environment(body: Mapping[str, object]) -> dict[str, str]:
    extra = body.get("envs") or {}
    if not isinstance(extra, dict):
        raise ToolboxError(400, "envs must be an object")
    for name in extra:
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise ToolboxError(400, f"invalid environment variable name: '{name}'")
    return {**os.environ, **extra}


async def execute(request: Request) -> JSONResponse:
    """Run a command and answer when everything that holds its output open has ended, as the real daemon does."""
    body = await json_body(request)
    command, timeout = required_text(body, "command"), body.get("timeout")
    process = await asyncio.create_subprocess_exec(
        SHELL,
        "-c",
        command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=str(body.get("cwd") or os.getcwd()),
        env=_environment(body),
        start_new_session=True,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), timeout if isinstance(timeout, int) else None)
    except TimeoutError as error:
        os.killpg(process.pid, signal.SIGKILL)
        raise ToolboxError(408, "command execution timeout", "PROCESS_EXECUTION_TIMEOUT") from error
    return JSONResponse({"exitCode": process.returncode, "result": output.decode(errors="replace")})


routes = [Route("/process/execute", execute, methods=["POST"])]
