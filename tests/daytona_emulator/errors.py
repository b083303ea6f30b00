"""Errors as Daytona's API words them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus

from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse


class ApiError(Exception):
    """A refusal by the control plane: an HTTP status, a message, perhaps headers."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


def error_response(connection: HTTPConnection, error: ApiError) -> JSONResponse:
    """The envelope {path, timestamp, statusCode, error, message}."""
    envelope = {
        "path": connection.url.path,
        "timestamp": now(),
        "statusCode": error.status,
        "error": HTTPStatus(error.status).phrase,
        "message": error.message,
    }
    return JSONResponse(envelope, error.status, headers=error.headers)


def now() -> str:
    """The time in UTC, ISO 8601, as the API writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
