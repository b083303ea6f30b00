"""/api/sandbox: one thin route an operation."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Response
from fastapi.responses import JSONResponse

from .errors import ApiError
from .models import CreateSandbox, ReplaceLabels
from .sandbox import Sandbox
from .sandboxes import IN_TRANSITION
from .world import SandboxHere, WorldHere

MAX_PAGE = 200
MAX_SIGNED_SECONDS = 24 * 3600
Port = Annotated[int, Path(ge=1, le=65535)]

router = APIRouter(prefix="/api/sandbox")


def _answer(sandbox: Sandbox) -> JSONResponse:
    return JSONResponse(sandbox.view().to_json())


@router.post("")
async def create(world: WorldHere, request: CreateSandbox) -> Response:
    subject = f"POST /sandbox/{request.name}"
    quota = world.faults.take("quota", subject)
    if quota:
        raise ApiError(400, quota.message or "Total CPU limit exceeded. Maximum allowed: 10.")
    sandbox = await world.sandboxes.create(request)
    late = world.faults.take("create_timeout", subject)
    if late:
        await asyncio.sleep(late.seconds)
    return _answer(sandbox)


@router.get("")
async def list_page(
    world: WorldHere,
    labels: str | None = None,
    name: str = "",
    states: Annotated[list[str] | None, Query()] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    cursor: int = 0,
) -> dict[str, Any]:
    """Newest first. `labels`: all of them must match; `name`: a prefix; `states`: any of them."""
    wanted = _labels(labels)
    found = [
        sandbox
        for sandbox in world.sandboxes.all()
        if wanted.items() <= sandbox.labels.items()
        and sandbox.name.startswith(name)
        and (not states or sandbox.state in ",".join(states).split(","))
    ]
    end = cursor + limit
    return {
        "items": [sandbox.list_item().to_json() for sandbox in found[cursor:end]],
        "nextCursor": str(end) if end < len(found) else None,
    }


def _labels(text: str | None) -> dict[str, str]:
    try:
        labels = json.loads(text or "{}")
    except ValueError as error:
        raise ApiError(400, "Invalid labels JSON format") from error
    if not isinstance(labels, dict):
        raise ApiError(400, "Invalid labels JSON format")
    return labels


@router.get("/{id_or_name}")
async def get(sandbox: SandboxHere) -> Response:
    return _answer(sandbox)


@router.delete("/{id_or_name}")
async def delete(world: WorldHere, sandbox: SandboxHere) -> Response:
    if world.faults.take("delete_denied", f"DELETE /sandbox/{sandbox.name}"):
        raise ApiError(403, "Insufficient permissions to delete this sandbox")
    _strike_conflict(world, sandbox, "DELETE /sandbox/{name}")
    world.sandboxes.delete(sandbox)
    return _answer(sandbox)


@router.post("/{id_or_name}/start")
async def start(world: WorldHere, sandbox: SandboxHere) -> Response:
    _strike_conflict(world, sandbox, "POST /sandbox/{name}/start")
    world.sandboxes.start(sandbox)
    return _answer(sandbox)


@router.post("/{id_or_name}/stop")
async def stop(world: WorldHere, sandbox: SandboxHere) -> Response:
    _strike_conflict(world, sandbox, "POST /sandbox/{name}/stop")
    world.sandboxes.stop(sandbox)
    return _answer(sandbox)


def _strike_conflict(world: WorldHere, sandbox: Sandbox, operation: str) -> None:
    if world.faults.take("conflict", operation.format(name=sandbox.name)):
        raise ApiError(409, IN_TRANSITION)


@router.put("/{id_or_name}/labels")
async def replace_labels(sandbox: SandboxHere, body: ReplaceLabels) -> dict[str, dict[str, str]]:
    sandbox.labels = body.labels
    return {"labels": sandbox.labels}


@router.post("/{id_or_name}/public/{public}")
async def set_public(sandbox: SandboxHere, public: bool) -> Response:
    sandbox.public = public
    return _answer(sandbox)


@router.post("/{id_or_name}/autostop/{minutes}")
async def set_auto_stop(sandbox: SandboxHere, minutes: Annotated[int, Path(ge=0)]) -> Response:
    sandbox.intervals.auto_stop = minutes
    return _answer(sandbox)


@router.post("/{id_or_name}/autoarchive/{minutes}")
async def set_auto_archive(sandbox: SandboxHere, minutes: Annotated[int, Path(ge=0)]) -> Response:
    sandbox.intervals.auto_archive = minutes
    return _answer(sandbox)


@router.post("/{id_or_name}/autodelete/{minutes}")
async def set_auto_delete(sandbox: SandboxHere, minutes: int) -> Response:
    sandbox.intervals.auto_delete = minutes
    return _answer(sandbox)


@router.post("/{id_or_name}/ttl/{minutes}")
async def set_ttl(sandbox: SandboxHere, minutes: Annotated[int, Path(ge=0)]) -> Response:
    sandbox.intervals.ttl = minutes
    return _answer(sandbox)


@router.post("/{id_or_name}/last-activity")
async def refresh_activity(sandbox: SandboxHere) -> Response:
    sandbox.touch()
    return Response(status_code=201)


@router.get("/{id_or_name}/toolbox-proxy-url")
async def toolbox_url(world: WorldHere, sandbox: SandboxHere) -> dict[str, str]:
    return {"url": f"{world.base_url}/toolbox"}


@router.get("/{id_or_name}/build-logs-url")
async def build_logs_url(world: WorldHere, sandbox: SandboxHere) -> dict[str, str]:
    return {"url": f"{world.base_url}/build-logs/sandbox/{sandbox.id}"}


@router.get("/{id_or_name}/ports/{port}/preview-url")
async def preview_url(world: WorldHere, sandbox: SandboxHere, port: Port) -> dict[str, str]:
    return {"sandboxId": sandbox.id, "url": world.previews.url(sandbox, port), "token": sandbox.token}


@router.get("/{id_or_name}/ports/{port}/signed-preview-url")
async def signed_preview_url(
    world: WorldHere,
    sandbox: SandboxHere,
    port: Port,
    seconds: Annotated[int, Query(alias="expiresInSeconds", ge=1, le=MAX_SIGNED_SECONDS)] = 60,
) -> dict[str, str | int]:
    url, token = world.previews.sign(sandbox, port, seconds)
    return {"sandboxId": sandbox.id, "port": port, "token": token, "url": url}


@router.post("/{id_or_name}/ports/{port}/signed-preview-url/{token}/expire")
async def expire_signed_preview_url(world: WorldHere, sandbox: SandboxHere, port: Port, token: str) -> Response:
    world.previews.expire(sandbox, port, token)
    return Response()
