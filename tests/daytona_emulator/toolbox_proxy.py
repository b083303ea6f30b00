"""/toolbox/{sandbox}/...: what the SDK says to a sandbox, passed on to the daemon that runs in it."""

from __future__ import annotations

import asyncio
import json

import websockets
from fastapi import APIRouter, Request, Response, WebSocket
from starlette.requests import ClientDisconnect
from starlette.websockets import WebSocketDisconnect

from .daemons import Daemon
from .errors import ApiError
from .faults import Faults
from .toolbox.ports import relay
from .world import World, WorldHere

router = APIRouter(prefix="/toolbox/{sandbox_id}")
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]


def _daemon(world: World, sandbox_id: str) -> Daemon:
    sandbox = world.sandboxes.find(sandbox_id)
    if sandbox.state != "started":
        raise ApiError(400, f"bad request: sandbox is not started (state: {sandbox.state})")
    if sandbox.daemon is None:
        raise ApiError(501, f"this emulator can't run commands (isolation {world.isolation.name}): see its README")
    sandbox.touch()
    return sandbox.daemon


@router.api_route("/{path:path}", methods=METHODS)
async def pass_on(world: WorldHere, sandbox_id: str, request: Request) -> Response:
    prefix = len(f"/toolbox/{sandbox_id}")
    raw_path: bytes = request.scope["raw_path"]
    daemon = _daemon(world, sandbox_id)
    try:
        content = await _slowed_down(request, world.faults) if _runs_command(request) else None
    except ClientDisconnect:
        return Response(status_code=499)  # nobody is there to read it
    return await relay(daemon.client, request, raw_path[prefix:], content=content)


def _runs_command(request: Request) -> bool:
    return request.method == "POST" and request.url.path.endswith(("/process/execute", "/exec"))


async def _slowed_down(request: Request, faults: Faults) -> bytes:
    """The request's body, whose command takes as long as a fault says, at least."""
    content = await request.body()
    try:
        body = json.loads(content)
        command = body["command"]
    except (ValueError, TypeError, KeyError):
        return content  # the daemon will refuse it
    if delay := faults.delay("slow_command", str(command)):
        body["command"] = f"sleep {delay} & slow=$!\n{command}\ncode=$?; wait $slow; (exit $code)"
    return json.dumps(body).encode()


@router.websocket("/{path:path}")
async def pass_on_socket(world: WorldHere, sandbox_id: str, path: str, socket: WebSocket) -> None:
    try:
        daemon = _daemon(world, sandbox_id)
    except ApiError as error:
        await socket.close(1008, error.message)
        return
    uri = f"ws://toolbox/{path}?{socket.url.query}"
    async with websockets.unix_connect(daemon.socket, uri, max_size=None, proxy=None) as upstream:
        await socket.accept()
        inward = asyncio.create_task(_pass_inward(socket, upstream))
        try:
            await _pass_outward(upstream, socket)
        finally:
            inward.cancel()


async def _pass_outward(upstream: websockets.ClientConnection, socket: WebSocket) -> None:
    try:
        async for message in upstream:
            await (socket.send_bytes(message) if isinstance(message, bytes) else socket.send_text(message))
        await socket.close(upstream.close_code or 1000)
    except WebSocketDisconnect:
        return  # the client hung up first
    except websockets.ConnectionClosedError:
        await socket.close(1011)  # the daemon died


async def _pass_inward(socket: WebSocket, upstream: websockets.ClientConnection) -> None:
    while (message := await socket.receive())["type"] != "websocket.disconnect":
        await upstream.send(message.get("bytes") or message.get("text") or "")
    await upstream.close()
