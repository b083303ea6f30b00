"""Preview URLs: a loopback listener of its own for each (sandbox, port), since sub-domains need DNS."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

import uvicorn
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from .errors import ApiError, error_response
from .faults import Faults
from .journal import Journal, Recorder
from .sandbox import Sandbox
from .settings import Settings
from .toolbox.ports import relay

TOKEN_HEADER, TOKEN_QUERY = "x-daytona-preview-token", "DAYTONA_SANDBOX_AUTH_KEY"
NO_ACTIVITY_HEADER = "x-daytona-skip-last-activity-update"
OWN_HEADERS = frozenset({TOKEN_HEADER, NO_ACTIVITY_HEADER, "x-daytona-skip-preview-warning"})
LOGIN_PAGE = "http://127.0.0.1/oidc/authorize"


@dataclass
class Signature:
    """What a signed preview URL proves. expires: by the monotonic clock."""

    token: str
    expires: float

    def valid(self) -> bool:
        return time.monotonic() < self.expires


class Preview:
    """The application behind one preview URL: checks the token, then relays to the sandbox's port."""

    def __init__(
        self, settings: Settings, faults: Faults, sandbox: Sandbox, port: int, signature: Signature | None = None
    ) -> None:
        self._settings = settings
        self._faults = faults
        self._sandbox = sandbox
        self._port = port
        self._signature = signature

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        await asyncio.sleep(self._settings.latency_ms / 1000)
        response = self._refusal(request) or await self._relay(request)
        await response(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        if not self._is_let_in(request):
            if self._settings.preview_refusal == "redirect":
                return RedirectResponse(LOGIN_PAGE, 307)
            return error_response(request, ApiError(401, "unauthorized: missing or invalid preview token"))
        if self._sandbox.state != "started":
            return error_response(request, ApiError(400, "bad request: sandbox is not running"))
        if self._faults.take("toolbox_down", f"{request.method} /preview/{self._port}{request.url.path}"):
            return Response(status_code=502)
        return None

    def _is_let_in(self, request: Request) -> bool:
        if self._signature:
            return self._signature.valid()
        given = request.headers.get(TOKEN_HEADER) or request.query_params.get(TOKEN_QUERY) or ""
        return (
            self._sandbox.public
            or secrets.compare_digest(given.encode(), self._sandbox.token.encode())
            or self._carries_api_key(request)
        )

    def _carries_api_key(self, request: Request) -> bool:
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        return secrets.compare_digest(key.encode(), self._settings.api_key.encode())

    async def _relay(self, request: Request) -> Response:
        if self._sandbox.daemon is None:
            return Response(status_code=502)
        if request.headers.get(NO_ACTIVITY_HEADER) != "true":
            self._sandbox.touch()
        raw_path: bytes = request.scope["raw_path"]
        withheld = OWN_HEADERS | {"authorization"} if self._carries_api_key(request) else OWN_HEADERS
        return await relay(self._sandbox.daemon.client, request, b"/proxy/%d" % self._port + raw_path, withheld)


class Listener:
    """One HTTP server on a free loopback port."""

    def __init__(self, app: ASGIApp) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="error", lifespan="off", ws="none", timeout_graceful_shutdown=1)
        self._server = _SignallessServer(config)
        self._task = asyncio.create_task(self._server.serve([self._socket]))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    async def close(self) -> None:
        self._server.should_exit = True
        await self._task


class _SignallessServer(uvicorn.Server):
    """Leaves the process's signals to the main server."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Previews:
    """All preview URLs that were asked for. They live until their sandbox is destroyed."""

    def __init__(self, settings: Settings, faults: Faults, journal: Journal) -> None:
        self._settings = settings
        self._faults = faults
        self._journal = journal
        self._listeners: dict[str, dict[str, Listener]] = {}
        self._signatures: dict[tuple[str, int, str], Signature] = {}

    def url(self, sandbox: Sandbox, port: int) -> str:
        """The standard preview URL, which asks for the sandbox's token."""
        return self._listen(sandbox, str(port), Preview(self._settings, self._faults, sandbox, port))

    def sign(self, sandbox: Sandbox, port: int, seconds: int) -> tuple[str, str]:
        """A URL that needs no header for so many seconds, and its token."""
        signature = Signature(secrets.token_hex(8), time.monotonic() + seconds)
        self._signatures[sandbox.id, port, signature.token] = signature
        preview = Preview(self._settings, self._faults, sandbox, port, signature)
        return self._listen(sandbox, f"{port}-{signature.token}", preview), signature.token

    def expire(self, sandbox: Sandbox, port: int, token: str) -> None:
        """ApiError 404 for a token that was never given out."""
        signature = self._signatures.get((sandbox.id, port, token))
        if signature is None:
            raise ApiError(404, "Signed preview URL not found")
        signature.expires = time.monotonic()

    async def close(self, sandbox: Sandbox) -> None:
        for listener in self._listeners.pop(sandbox.id, {}).values():
            await listener.close()

    def _listen(self, sandbox: Sandbox, name: str, preview: Preview) -> str:
        listeners = self._listeners.setdefault(sandbox.id, {})
        if name not in listeners:
            listeners[name] = Listener(Recorder(preview, self._journal, preview_of=sandbox.id))
        return listeners[name].url
