"""/emulator: what Daytona doesn't have, and tests need. Behind the same key."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from .faults import Fault
from .world import WorldHere

router = APIRouter(prefix="/emulator")


@router.get("")
async def describe(world: WorldHere) -> dict[str, Any]:
    return {"isolation": world.isolation.name, "limits": world.isolation.limits, **world.settings.model_dump()}


@router.get("/journal")
async def journal(world: WorldHere) -> list[dict[str, Any]]:
    return [entry.model_dump() for entry in world.journal.entries]


@router.post("/reset")
async def reset(world: WorldHere) -> Response:
    await world.reset()
    return Response(status_code=204)


@router.get("/sandboxes")
async def sandboxes(world: WorldHere) -> list[dict[str, Any]]:
    """Those that exist, in whatever state."""
    return [sandbox.view().to_json() for sandbox in world.sandboxes.all()]


@router.get("/destroyed")
async def destroyed(world: WorldHere) -> list[dict[str, Any]]:
    return [sandbox.view().to_json() for sandbox in world.sandboxes.destroyed]


@router.post("/faults")
async def arm(world: WorldHere, fault: Fault) -> dict[str, str]:
    world.faults.arm(fault)
    return {"id": fault.id}


@router.delete("/faults")
async def clear(world: WorldHere) -> Response:
    world.faults.clear()
    return Response(status_code=204)
