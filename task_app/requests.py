"""Reading requests, and refusing them in one readable sentence: every error body is {"detail": "..."}."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException

from task_app.contracts import RolloutRequest
from task_app.errors import InfrastructureFailure, InvalidRequest
from task_app.rollouts import ConflictingRequest, UnknownRollout

BODY_LIMIT = 8 * 1024 * 1024
"""Bytes of a request's body: a submission, of which a character may take six bytes in JSON, and what goes with it."""

DRAIN_LIMIT = 2 * BODY_LIMIT
"""Bytes read of a body that is too large: who is cut off while sending does not get to see the refusal."""


async def rollout_request(request: Request) -> RolloutRequest:
    """The body of a request for a rollout, read no further than is allowed.

    Raises:
        HTTPException: it is too large (413) or says something that no rollout can be made of (422).
    """
    body = await _body(request)
    try:
        return RolloutRequest.model_validate_json(body)
    except ValidationError as error:
        raise HTTPException(422, _sentence(error.errors(include_url=False, include_context=False))) from None


async def _body(request: Request) -> bytes:
    body, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= BODY_LIMIT:
            body += chunk
        if size > DRAIN_LIMIT:
            break
    if size > BODY_LIMIT:
        raise HTTPException(413, f"The body is larger than {BODY_LIMIT // 1024} KB.", headers={"Connection": "close"})
    return bytes(body)


def asks_for_async(request: Request) -> bool:
    """Whether the client prefers a 202 now over an answer when it is done (`Prefer: respond-async`, RFC 7240)."""
    preferences = ",".join(request.headers.getlist("prefer")).split(",")
    return any(preference.split(";")[0].strip().lower() == "respond-async" for preference in preferences)


def handle_errors(app: FastAPI) -> None:
    """Answer what the routes raise. Anything unforeseen is logged by the server with its traceback, and a bare 500."""

    def refusing(status: int) -> Callable[[Request, Exception], Awaitable[JSONResponse]]:
        async def refuse(request: Request, error: Exception) -> JSONResponse:
            return _error(status, str(error))

        return refuse

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return _error(422, _sentence(error.errors()))

    async def http_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, StarletteHTTPException)
        detail = error.detail
        if detail == HTTPStatus(error.status_code).phrase:
            detail = f"{detail}: {request.method} {request.url.path} is not served here."
        return _error(error.status_code, detail, error.headers)

    async def unforeseen(request: Request, error: Exception) -> JSONResponse:
        return _error(500, type(error).__name__)

    for kind, status in _STATUS.items():
        app.add_exception_handler(kind, refusing(status))
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(StarletteHTTPException, http_error)
    app.add_exception_handler(Exception, unforeseen)


_STATUS: dict[type[Exception], int] = {
    InvalidRequest: 422,
    UnknownRollout: 404,
    ConflictingRequest: 409,
    InfrastructureFailure: 503,
}


def _error(status: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": detail}, status, headers)


def _sentence(problems: Sequence[Any]) -> str:
    named = (f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}" for problem in problems)
    return f"The request is not valid. {'; '.join(text.removeprefix(': ') for text in named)}."
