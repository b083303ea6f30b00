"""`engine-bench open`: the addresses of the Prefect UI that one needs, and the most useful of them in the browser."""

import asyncio
import os
import sys
import webbrowser
from typing import Literal, NamedTuple
from uuid import UUID

from prefect.client.orchestration import PrefectClient, get_client
from prefect.exceptions import ObjectNotFound
from prefect.utilities.urls import url_for
from rich.console import Console

from core.errors import ConfigurationError
from core.settings import Settings
from evals.store import StoredRun, open_store
from flows.api import running_api
from flows.server import LocalServer

SERVER = "server"
LAST_RUN = "last run"


class Address(NamedTuple):
    """A page of the Prefect UI, and what is to be seen there."""

    name: str
    url: str


def show_addresses(settings: Settings, *, browser: bool) -> None:
    """Print the addresses; with `browser`, open the last run, or the server if there is none.

    Raises:
        ConfigurationError: no server is configured, and none runs here.
        InfrastructureError: the configured server can't be reached.
    """
    found = addresses(settings)
    width = max(len(address.name) for address in found)
    stdout = Console()
    for address in found:
        stdout.print(f"{address.name:{width}}  {address.url}", highlight=False, markup=False, soft_wrap=True)
    if browser and _has_display():
        webbrowser.open(next((address.url for address in found if address.name == LAST_RUN), found[0].url))


def addresses(settings: Settings) -> list[Address]:
    """Those of the server, of the last run if the server knows it, and of each deployment by name.

    Raises:
        ConfigurationError: no server is configured, and none runs here.
        InfrastructureError: the configured server can't be reached.
    """
    api = running_api(settings)
    if api is None:
        state, _ = LocalServer(settings).state()
        raise ConfigurationError(
            f"The local Prefect server is {state}. `engine-bench server start` or `make serve` starts it; "
            "PREFECT_API_URL names another."
        )
    with api.in_use():
        return [Address(SERVER, api.ui_url), *asyncio.run(_pages(settings))]


async def _pages(settings: Settings) -> list[Address]:
    run = await _last_run(settings)
    async with get_client() as client:
        known = [Address(LAST_RUN, _url("flow-run", UUID(run.id)))] if run and await _knows(client, run) else []
        flows = {flow.id: flow.name for flow in await client.read_flows()}
        deployments = [
            Address(f"{flows[deployment.flow_id]}/{deployment.name}", _url("deployment", deployment.id))
            for deployment in await client.read_deployments()
        ]
    return known + sorted(deployments)


async def _last_run(settings: Settings) -> StoredRun | None:
    if settings.store_url is None and not settings.results_dir.exists():
        return None  # opening the store would create it, and to look leaves no traces
    async with open_store(settings.resolved_store_url) as store:
        return await store.last_run()


async def _knows(client: PrefectClient, run: StoredRun) -> bool:
    """Whether the run was executed on this server, and is still in its history."""
    try:
        await client.read_flow_run(UUID(run.id))
    except ObjectNotFound:
        return False
    return True


def _url(kind: Literal["flow-run", "deployment"], id_: UUID) -> str:
    """Of a page in the UI of the server that is in use; Prefect knows where it is, in its Cloud too."""
    found = url_for(kind, id_)
    assert found is not None, kind
    return found


def _has_display() -> bool:
    """Whether a window can be opened: without one, a text browser would take the terminal over."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
