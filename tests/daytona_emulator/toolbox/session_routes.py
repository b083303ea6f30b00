"""/process/session: create, run, logs (whole, or followed over a WebSocket), input, delete."""

from __future__ import annotations

from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from .errors import ToolboxError, json_body
from .process import required_text
from .sessions import Command, Session

RESERVED = "entrypoint"


def _sessions(connection: HTTPConnection) -> dict[str, Session]:
    sessions: dict[str, Session] = connection.app.state.sessions
    return sessions


def _session(connection: HTTPConnection) -> Session:
    session = _sessions(connection).get(connection.path_params["session"])
    if session is None:
        raise ToolboxError(404, "session not found", "SESSION_NOT_FOUND")
    return session


def _command(connection: HTTPConnection) -> Command:
    command = _session(connection).commands.get(connection.path_params["command"])
    if command is None:
        raise ToolboxError(404, "command not found")
    return command


async def list_sessions(request: Request) -> JSONResponse:
    return JSONResponse([session.view() for session in _sessions(request).values()])


async def create_session(request: Request) -> Response:
    name = required_text(await json_body(request), "sessionId")
    if name == RESERVED:
        raise ToolboxError(400, "provided session ID is reserved and cannot be created/overridden")
    if name in _sessions(request):
        raise ToolboxError(409, "session already exists")
    _sessions(request)[name] = await Session.start(name)
    return Response(status_code=201)


async def get_session(request: Request) -> JSONResponse:
    return JSONResponse(_session(request).view())


async def delete_session(request: Request) -> Response:
    session = _session(request)
    del _sessions(request)[session.name]
    await session.kill()
    return Response(status_code=204)


async def run_command(request: Request) -> JSONResponse:
    session, body = _session(request), await json_body(request)
    asynchronous = bool(body.get("runAsync") or body.get("async"))
    command = await session.run(required_text(body, "command"), asynchronous)
    if asynchronous:
        return JSONResponse({"cmdId": command.id}, 202)
    await command.done.wait()
    return JSONResponse({"cmdId": command.id, "exitCode": command.exit_code, **command.log.streams()})


async def get_command(request: Request) -> JSONResponse:
    return JSONResponse(_command(request).view())


async def get_logs(request: Request) -> JSONResponse:
    return JSONResponse(_command(request).log.streams())


async def send_input(request: Request) -> Response:
    command, text = _command(request), required_text(await json_body(request), "data")
    if command.done.is_set():
        raise ToolboxError(410, "command already completed", "COMMAND_ALREADY_COMPLETED")
    command.write_input(text)
    return Response(status_code=204)


async def follow_logs(socket: WebSocket) -> None:
    try:
        command = _command(socket)
    except ToolboxError as error:
        await socket.close(1008, error.message)
        return
    await socket.accept()
    try:
        if socket.query_params.get("follow") == "true":
            async for chunk in command.log.follow():
                await socket.send_bytes(chunk)
        else:
            await socket.send_bytes(bytes(command.log.data))
        await socket.close()
    except WebSocketDisconnect:
        return


SESSION = "/process/session/{session}"
COMMAND = f"{SESSION}/command/{{command}}"

routes: list[BaseRoute] = [
    Route("/process/session", list_sessions, methods=["GET"]),
    Route("/process/session", create_session, methods=["POST"]),
    Route(SESSION, get_session, methods=["GET"]),
    Route(SESSION, delete_session, methods=["DELETE"]),
    Route(f"{SESSION}/exec", run_command, methods=["POST"]),
    Route(COMMAND, get_command, methods=["GET"]),
    Route(f"{COMMAND}/logs", get_logs, methods=["GET"]),
    WebSocketRoute(f"{COMMAND}/logs", follow_logs),
    Route(f"{COMMAND}/input", send_input, methods=["POST"]),
]
