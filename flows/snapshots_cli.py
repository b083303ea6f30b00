"""`engine-bench snapshot`: build, list and delete the snapshots that Daytona sandboxes start from."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cyclopts import App
from rich.console import Console
from rich.table import Table

from core.settings import Settings
from flows.parameters import AgentName, BenchmarkName, Parameters
from sandboxes.base import Machine

if TYPE_CHECKING:  # the SDK takes a second to import
    from daytona import AsyncDaytona

DELETE_PATIENCE = 300.0
"""Seconds; Daytona removes snapshots in its own time."""

app = App(name="snapshot", help="Snapshots of Daytona sandboxes: what `--snapshot auto` builds once and reuses.")


@app.command
def build(
    *,
    benchmark: BenchmarkName = "sample",
    path: str = "",
    agent: AgentName = "opencode",
    image: str = "",
    cpu: int = Machine().cpu,
    memory: int = Machine().memory,
    disk: int = Machine().disk,
) -> None:
    """Build the snapshots for a benchmark, or find them: one, or in the Harbor layout one for each environment.

    Parameters
    ----------
    benchmark
        What the snapshot holds, beside the task app and its requirements.
    path
        Folder of the benchmark `harbor`; for `engine-bench`, instead of ENGINE_BENCH_DIR.
    agent
        Whose program it holds, too.
    image
        Registry image with Python 3.11 or newer to build on; empty takes the usual one.
    cpu
        Cores of the sandboxes that start from it.
    memory
        Their memory, GiB.
    disk
        Their disk, GiB.
    """
    machine = {"image": image, "cpu": cpu, "memory": memory, "disk": disk}
    asyncio.run(_build(Parameters(backend="daytona", benchmark=benchmark, path=path, agent=agent, **machine)))


@app.command(name="list")
def list_() -> None:
    """List the snapshots that engine-bench has built."""
    asyncio.run(_list())


@app.command
def delete(*names: str) -> None:
    """Delete snapshots, and wait until they are gone.

    Parameters
    ----------
    names
        As `engine-bench snapshot list` shows them.
    """
    asyncio.run(_delete(names))


async def _build(parameters: Parameters) -> None:
    from flows.plan import make_plan, pack  # noqa: PLC0415 - see above
    from sandboxes.daytona import snapshots  # noqa: PLC0415
    from sandboxes.daytona.images import define  # noqa: PLC0415
    from sandboxes.daytona.patience import Patience  # noqa: PLC0415

    plan = make_plan(parameters, "snapshot", Settings())
    bundle = await asyncio.to_thread(pack, plan)
    errors = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)
    async with _client() as sdk:
        for machine in plan.machines:
            definition = define(machine, bundle, plan.tools)
            new = await snapshots.build(sdk, definition, patience=Patience().build, show=errors.print)
            print(f"{definition.name} {'is built' if new else 'was there already'}")  # noqa: T201


async def _list() -> None:
    from sandboxes.daytona import snapshots  # noqa: PLC0415 - see above

    async with _client() as sdk:
        found = await snapshots.list_ours(sdk)
    table = Table("snapshot", "state", "cpu", "memory", "disk", "last used")
    for each in found:
        used = str(each.last_used_at or "never")
        table.add_row(each.name, snapshots.state_of(each), f"{each.cpu:g}", f"{each.mem:g}", f"{each.disk:g}", used)
    Console().print(table if found else "There are none. `engine-bench snapshot build` makes one.")


async def _delete(names: tuple[str, ...]) -> None:
    from sandboxes.daytona import snapshots  # noqa: PLC0415 - see above

    async with _client() as sdk:
        for name in names:
            was_there = await snapshots.delete(sdk, name, patience=DELETE_PATIENCE)
            print(f"{name} {'is deleted' if was_there else 'was not there'}")  # noqa: T201


@asynccontextmanager
async def _client() -> "AsyncIterator[AsyncDaytona]":
    from sandboxes.daytona.client import open_client  # noqa: PLC0415 - see above

    async with open_client(await _with_account(Settings())) as sdk:
        yield sdk


async def _with_account(settings: Settings) -> Settings:
    """The settings with an API key, from the Prefect server where the environment has none and a server runs."""
    if settings.daytona_api_key is not None:
        return settings
    from flows.api import running_api  # noqa: PLC0415 - brings Prefect along
    from flows.credentials import with_daytona_credentials  # noqa: PLC0415

    # Prefect itself would start a server of its own just to look, which takes long and finds nothing.
    api = await asyncio.to_thread(running_api, settings)
    if api is None:
        return settings
    with api.in_use():
        return await with_daytona_credentials(settings)
