"""The addresses that `engine-bench open` shows, of a real server."""

import asyncio
import webbrowser
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from core.errors import ConfigurationError, InfrastructureError
from core.settings import Settings
from evals.store import StoredRun, open_store
from flows.open_ui import LAST_RUN, SERVER, Address, addresses, show_addresses
from flows.server import ServerRecord


@pytest.fixture
def settings(session_settings: Settings, tmp_path: Path) -> Settings:
    """Those of the running server, with results of their own."""
    return session_settings.model_copy(update={"results_dir": tmp_path / "results"})


@pytest.fixture
def flow(prefect_api: httpx.Client) -> str:
    """A flow's id."""
    return str(prefect_api.post("flows/", json={"name": "engine-bench"}).raise_for_status().json()["id"])


@pytest.fixture
def deployment(prefect_api: httpx.Client, flow: str) -> str:
    """Its deployment's id."""
    body = {"name": "local", "flow_id": flow}
    return str(prefect_api.post("deployments/", json=body).raise_for_status().json()["id"])


@pytest.fixture
def run(prefect_api: httpx.Client, flow: str) -> str:
    """Its flow run's id."""
    return str(prefect_api.post("flow_runs/", json={"flow_id": flow}).raise_for_status().json()["id"])


def remember(settings: Settings, run: str) -> None:
    """As a run does that begins."""

    async def begin() -> None:
        async with open_store(settings.resolved_store_url) as store:
            await store.begin_run(StoredRun(run, run[:8], "series", "hash", {}, None, datetime.now(UTC)))

    settings.results_dir.mkdir()
    asyncio.run(begin())


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the browser is asked to open, on a machine with a display."""
    asked: list[str] = []
    monkeypatch.setattr(webbrowser, "open", asked.append)
    monkeypatch.setenv("DISPLAY", ":0")
    return asked


def test_the_server_and_each_deployment(settings: Settings, server: ServerRecord, deployment: str) -> None:
    found = addresses(settings)
    assert found[0] == Address(SERVER, server.ui_url)
    assert Address("engine-bench/local", f"{server.ui_url}/deployments/deployment/{deployment}") in found


def test_to_look_leaves_no_results_folder(settings: Settings, server: ServerRecord) -> None:
    assert LAST_RUN not in dict(addresses(settings))
    assert not settings.results_dir.exists()


def test_a_run_that_the_server_does_not_know_has_no_page(settings: Settings, server: ServerRecord) -> None:
    remember(settings, str(uuid4()))
    assert LAST_RUN not in dict(addresses(settings))


def test_the_last_run_is_opened(
    settings: Settings, server: ServerRecord, run: str, opened: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    remember(settings, run)
    show_addresses(settings, browser=True)
    page = f"{server.ui_url}/runs/flow-run/{run}"
    assert opened == [page]
    assert page in capsys.readouterr().out


def test_without_a_run_the_server_is_opened(settings: Settings, server: ServerRecord, opened: list[str]) -> None:
    show_addresses(settings, browser=True)
    assert opened == [server.ui_url]


def test_nothing_is_opened_on_request_or_without_a_display(
    settings: Settings, server: ServerRecord, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    show_addresses(settings, browser=False)
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    show_addresses(settings, browser=True)
    assert opened == []


def test_where_no_server_runs_it_says_how_to_start_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="engine-bench server start"):
        addresses(Settings(data_dir=tmp_path))


def test_a_configured_server_that_is_not_there_is_named(settings: Settings, unused_tcp_port: int) -> None:
    url = f"http://127.0.0.1:{unused_tcp_port}/api"
    with temporary_settings({PREFECT_API_URL: url}), pytest.raises(InfrastructureError, match=url):
        addresses(settings)
