"""Socket.IO notifications of state changes, which spare the SDK its polling."""

from __future__ import annotations

from typing import Any

import socketio  # type: ignore[import-untyped]
from starlette.types import ASGIApp

ROOM = "organization"


class Events:
    """Tells every authenticated client about sandboxes. Without it the SDK would still work, by polling."""

    def __init__(self, api_key: str) -> None:
        self._server = socketio.AsyncServer(async_mode="asgi", logger=False, engineio_logger=False)
        self._api_key = api_key
        self._server.on("connect", self._connect)

    def mount(self, app: ASGIApp) -> ASGIApp:
        """The application with the notification gateway in front of it."""
        mounted: ASGIApp = socketio.ASGIApp(self._server, app, socketio_path="api/socket.io")
        return mounted

    async def created(self, sandbox: dict[str, Any]) -> None:
        await self._server.emit("sandbox.created", sandbox, room=ROOM)

    async def state_changed(self, sandbox: dict[str, Any], old: str, new: str) -> None:
        event = {"sandbox": sandbox, "oldState": old, "newState": new}
        await self._server.emit("sandbox.state.updated", event, room=ROOM)

    async def _connect(self, connection: str, environ: dict[str, Any], auth: dict[str, str] | None) -> None:
        if not auth or auth.get("token") != self._api_key:
            raise socketio.exceptions.ConnectionRefusedError("Unauthorized")
        await self._server.enter_room(connection, ROOM)
