"""Errors as the real daemon words them: one envelope, with a code and the daemon as its source."""

from __future__ import annotations

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import JSONResponse

CODES = {400: "BAD_REQUEST", 404: "NOT_FOUND", 408: "REQUEST_TIMEOUT", 409: "CONFLICT", 410: "GONE"}


class ToolboxError(Exception):
    """A refusal; `status` is an HTTP status, `code` the daemon's own name for the reason."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code or CODES.get(status, "INTERNAL_SERVER_ERROR")

    def envelope(self, request: Request) -> dict[str, object]:
        return {
            "statusCode": self.status,
            "message": self.message,
            "code": self.code,
            "source": "DAYTONA_DAEMON",
            "timestamp": datetime.now(UTC).isoformat(),
            "path": request.url.path,
            "method": request.method,
        }


async def answer_toolbox_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ToolboxError)
    return JSONResponse(error.envelope(request), error.status)


async def answer_os_error(request: Request, error: Exception) -> JSONResponse:
    return await answer_toolbox_error(request, ToolboxError(400, str(error)))


async def json_body(request: Request) -> dict[str, object]:
    """The request's JSON object; 400 for anything else."""
    try:
        body = await request.json()
    except ValueError as error:
        raise ToolboxError(400, f"invalid request body: {error}") from error
    if not isinstance(body, dict):
        raise ToolboxError(400, "invalid request body: not a JSON object")
    return body
