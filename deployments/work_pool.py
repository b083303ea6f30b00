"""The work pool that the deployments of prefect.yaml name, with one queue per backend."""

from collections.abc import Awaitable, Mapping
from contextlib import suppress

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

WORK_POOL = "engine-bench"
WORK_POOL_TYPE = "process"

QUEUES: Mapping[str, int] = {"local": 2, "daytona": 4, "maintenance": 1}
"""Runs at a time for each queue, over all workers; further ones wait their turn. The nightly is one of `daytona`."""


async def ensure_work_pool(client: PrefectClient) -> None:
    """Create the pool and its queues where they are missing; limits that somebody has changed since are kept."""
    try:
        await client.read_work_pool(WORK_POOL)
    except ObjectNotFound:
        await unless_there(client.create_work_pool(WorkPoolCreate(name=WORK_POOL, type=WORK_POOL_TYPE)))
    there = {queue.name for queue in await client.read_work_queues(work_pool_name=WORK_POOL)}
    for name, limit in QUEUES.items():
        if name not in there:
            await unless_there(client.create_work_queue(name, concurrency_limit=limit, work_pool_name=WORK_POOL))


async def unless_there(creation: Awaitable[object]) -> None:
    """Two registrations at once are fine: the second finds what the first has made."""
    with suppress(ObjectAlreadyExists):
        await creation
