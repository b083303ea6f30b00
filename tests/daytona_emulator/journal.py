"""The journal: every request and its answer, for tests and oracles."""

from __future__ import annotations

import json
import time
from typing import Any, Literal
from urllib.parse import unquote

from pydantic import BaseModel
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .errors import now

Plane = Literal["api", "toolbox", "preview"]
SECRET_HEADERS = frozenset({"authorization", "cookie", "x-daytona-preview-token", "x-api-key"})


class Entry(BaseModel):
    """One request.

    plane: which of Daytona's surfaces it went to
    path: without the plane's prefix; of a toolbox request also without the sandbox id
    sandbox: id of the sandbox, for toolbox and preview requests
    request, response: parsed JSON; None where the body is something else
    status: None if the connection broke before an answer
    seconds: from the first byte of the request to the last of the answer
    """

    at: str
    plane: Plane
    method: str
    path: str
    sandbox: str | None = None
    query: str = ""
    headers: dict[str, str]
    request: Any = None
    status: int | None = None
    response: Any = None
    seconds: float = 0


class Journal:
    """Entries in the order in which the requests arrived."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def open_entry(self, scope: Scope, plane: Plane, path: str, sandbox: str | None) -> Entry:
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
        entry = Entry(
            at=now(),
            plane=plane,
            method=scope.get("method", "WEBSOCKET"),
            path=path,
            sandbox=sandbox,
            query=unquote(scope["query_string"].decode()),
            headers={name: value for name, value in headers.items() if name not in SECRET_HEADERS},
        )
        self.entries.append(entry)
        return entry


class Recorder:
    """ASGI middleware that keeps a journal of the requests that go to a Daytona surface."""

    def __init__(self, app: ASGIApp, journal: Journal, preview_of: str | None = None) -> None:
        self._app = app
        self._journal = journal
        self._preview_of = preview_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        place = self._place(scope)
        if place is None:
            await self._app(scope, receive, send)
            return
        entry = self._journal.open_entry(scope, *place)
        exchange, started = _Exchange(entry, receive, send), time.monotonic()
        try:
            await self._app(scope, exchange.receive, exchange.send)
        finally:
            entry.seconds = time.monotonic() - started

    def _place(self, scope: Scope) -> tuple[Plane, str, str | None] | None:
        if scope["type"] not in ("http", "websocket"):
            return None
        if self._preview_of:
            return "preview", scope["path"], self._preview_of
        match scope["path"].split("/", 3):
            case ["", "api", *rest]:
                return "api", "/" + "/".join(rest), None
            case ["", "toolbox", sandbox, path]:
                return "toolbox", f"/{path}", sandbox
        return None


class _Exchange:
    """Passes one request's messages on, and notes the JSON in them."""

    def __init__(self, entry: Entry, receive: Receive, send: Send) -> None:
        self._entry = entry
        self._receive = receive
        self._send = send
        self._sent_json = entry.headers.get("content-type", "").startswith("application/json")
        self._answered_json = False
        self._request = bytearray()
        self._response = bytearray()

    async def receive(self) -> Message:
        message = await self._receive()
        if self._sent_json and message["type"] == "http.request":
            self._request += message.get("body", b"")
            if not message.get("more_body"):
                self._entry.request = _parse(self._request)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._entry.status = message["status"]
            types = [value for name, value in message.get("headers", []) if name.lower() == b"content-type"]
            self._answered_json = bool(types) and types[0].startswith(b"application/json")
        elif message["type"] == "websocket.accept":
            self._entry.status = 101
        elif message["type"] == "http.response.body" and self._answered_json:
            self._response += message.get("body", b"")
            if not message.get("more_body"):
                self._entry.response = _parse(self._response)
        await self._send(message)


def _parse(data: bytearray) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None  # it only said that it was JSON; the route that reads it answers for that
