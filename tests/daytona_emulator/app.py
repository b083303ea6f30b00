"""The ASGI application: the planes, behind the gate, under the journal."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from . import operator_routes, sandbox_routes, snapshot_routes, toolbox_proxy
from .errors import ApiError, error_response
from .gate import Gate
from .journal import Recorder
from .sandbox import VERSION
from .snapshots import DEFAULT_SNAPSHOT
from .world import World, WorldHere


async def _answer_api_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return error_response(request, error)


async def _answer_http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return error_response(request, ApiError(error.status_code, error.detail))


async def _answer_invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    reasons = "; ".join(f"{'.'.join(map(str, each['loc'][1:]))}: {each['msg']}" for each in error.errors())
    return error_response(request, ApiError(400, reasons))


async def config(world: WorldHere) -> dict[str, Any]:
    return {
        "version": VERSION,
        "oidc": {"issuer": f"{world.base_url}/oidc", "clientId": "emulator", "audience": "emulator"},
        "linkedAccountsEnabled": False,
        "announcements": {},
        "proxyTemplateUrl": f"{world.base_url}/preview/{{{{PORT}}}}-{{{{sandboxId}}}}",
        "proxyToolboxUrl": f"{world.base_url}/toolbox",
        "defaultSnapshot": DEFAULT_SNAPSHOT,
        "dashboardUrl": world.base_url,
        "maxAutoArchiveInterval": 43200,
        "maintananceMode": False,  # spelled so on the wire
        "environment": "emulator",
    }


async def health() -> dict[str, str]:
    return {"status": "ok"}


def build_app(world: World) -> ASGIApp:
    """The whole emulator as one application; its lifespan is the sandboxes' too."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with world.running():
            yield

    app = FastAPI(title="Daytona emulator", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.world = world
    app.add_exception_handler(ApiError, _answer_api_error)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_api_route("/api/config", config)
    app.add_api_route("/api/health", health)
    routers = (sandbox_routes.router, snapshot_routes.router, snapshot_routes.build_logs, toolbox_proxy.router)
    for router in (*routers, operator_routes.router):
        app.include_router(router)
    gated = Recorder(Gate(app, world.settings, world.faults), world.journal)
    return world.events.mount(gated)
