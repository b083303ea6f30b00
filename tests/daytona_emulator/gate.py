"""The gate in front of the control plane and the toolbox proxy: latency, keys, and the faults that strike requests."""

from __future__ import annotations

import asyncio
import secrets

from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from .errors import ApiError, error_response
from .faults import Faults
from .settings import Settings

OPEN_PATHS = frozenset({"/api/health", "/api/config"})
OPERATOR_PATH = "/emulator"
THROTTLER = "authenticated"
"""Daytona names its rate limits, and puts the name at the end of the headers."""


class Gate:
    """ASGI middleware: lets a request through, late, or answers it with a refusal."""

    def __init__(self, app: ASGIApp, settings: Settings, faults: Faults) -> None:
        self._app = app
        self._settings = settings
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        if not connection.url.path.startswith(OPERATOR_PATH):
            await asyncio.sleep(self._settings.latency_ms / 1000)
        refusal = self._refusal(connection)
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocketClose(1008)(scope, receive, send)
        else:
            await refusal(scope, receive, send)

    def _refusal(self, connection: HTTPConnection) -> Response | None:
        path = connection.url.path
        if path in OPEN_PATHS:
            return None
        key = connection.headers.get("authorization", "").removeprefix("Bearer ")
        if not secrets.compare_digest(key.encode(), self._settings.api_key.encode()):
            return error_response(connection, ApiError(401, "Invalid credentials"))
        subject = f"{connection.scope.get('method', 'WEBSOCKET')} {path.removeprefix('/api')}"
        if path.startswith("/toolbox/"):
            down = self._faults.take("toolbox_down", subject)
            return Response(status_code=502) if down else self._ordered_error(connection, subject)
        if not path.startswith("/api/"):
            return None
        return self._throttled(connection, subject) or self._ordered_error(connection, subject)

    def _throttled(self, connection: HTTPConnection, subject: str) -> Response | None:
        fault = self._faults.take("rate_limited", subject)
        if fault is None:
            return None
        wait = str(int(fault.seconds) or 1)
        headers = {f"Retry-After-{THROTTLER}": wait, f"X-RateLimit-Reset-{THROTTLER}": wait}
        headers |= {f"X-RateLimit-Limit-{THROTTLER}": "100", f"X-RateLimit-Remaining-{THROTTLER}": "0"}
        return error_response(connection, ApiError(429, fault.message or "Rate limit exceeded", headers))

    def _ordered_error(self, connection: HTTPConnection, subject: str) -> Response | None:
        fault = self._faults.take("error", subject)
        if fault is None:
            return None
        return error_response(connection, ApiError(fault.status, fault.message or "the request was made to fail"))
