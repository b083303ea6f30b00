"""/api/snapshots, and the build logs of snapshots and sandboxes."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse

from .images import BuildLog
from .models import CreateSnapshot
from .snapshots import Snapshot
from .world import SandboxHere, SnapshotHere, WorldHere

router = APIRouter(prefix="/api/snapshots")
build_logs = APIRouter(prefix="/build-logs")


def _answer(snapshot: Snapshot) -> JSONResponse:
    return JSONResponse(snapshot.view().to_json())


@router.post("")
async def create(world: WorldHere, request: CreateSnapshot) -> Response:
    return _answer(world.snapshots.create(request))


@router.get("")
async def list_page(
    world: WorldHere,
    page: Annotated[int, Query(ge=1)] = 1,
    limit: Annotated[int, Query(ge=1, le=200)] = 100,
    name: str = "",
) -> dict[str, Any]:
    """`name`: a part of it."""
    found = [snapshot for snapshot in world.snapshots.all() if name in snapshot.name]
    return {
        "items": [snapshot.view().to_json() for snapshot in found[(page - 1) * limit : page * limit]],
        "total": len(found),
        "page": page,
        "totalPages": -(-len(found) // limit),
    }


@router.get("/{id_or_name}")
async def get(snapshot: SnapshotHere) -> Response:
    return _answer(snapshot)


@router.delete("/{id_or_name}")
async def delete(world: WorldHere, snapshot: SnapshotHere) -> Response:
    world.snapshots.delete(snapshot)
    return Response()


@router.post("/{id_or_name}/activate")
async def activate(world: WorldHere, snapshot: SnapshotHere) -> Response:
    world.snapshots.set_active(snapshot, "active")
    return _answer(snapshot)


@router.post("/{id_or_name}/deactivate")
async def deactivate(world: WorldHere, snapshot: SnapshotHere) -> Response:
    world.snapshots.set_active(snapshot, "inactive")
    return Response(status_code=204)


@router.get("/{id_or_name}/build-logs-url")
async def build_logs_url(world: WorldHere, snapshot: SnapshotHere) -> dict[str, str]:
    return {"url": f"{world.base_url}/build-logs/snapshot/{snapshot.id}"}


@build_logs.get("/sandbox/{id_or_name}")
async def sandbox_build_log(sandbox: SandboxHere, follow: bool = False) -> Response:
    return _log(sandbox.build_log, follow)


@build_logs.get("/snapshot/{id_or_name}")
async def snapshot_build_log(snapshot: SnapshotHere, follow: bool = False) -> Response:
    return _log(snapshot.build_log, follow)


def _log(log: BuildLog, follow: bool) -> Response:
    if follow:
        return StreamingResponse(log.follow(), media_type="application/octet-stream")
    return PlainTextResponse(log.so_far())
