"""Global limits: several runs at once stay within them, none waits for ever, and a dead holder gives its slot back."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
from prefect import flow

from core.settings import Settings
from flows import limits
from flows.limits import Limit, rollouts_at, sandboxes_of
from tests.flows.conftest import CommandLine

ASKING_A_MODEL = ("--agent", "command", "--agent-command", "sleep 0.3", "--inference-url", "http://127.0.0.1:9/v1")
HOLDER = """
import asyncio, sys
from prefect import flow
from flows.limits import Limit

@flow
async def hold(name: str):
    async with (await Limit.find(name)).slot():
        print("held", flush=True)
        await asyncio.sleep(1000)

asyncio.run(hold(sys.argv[1]))
"""


@pytest.fixture
def limited(prefect_api: httpx.Client) -> Iterator[Callable[[str, int], None]]:
    """Makes a global limit that is gone afterwards."""
    made = []

    def limit(name: str, slots: int) -> None:
        prefect_api.post("v2/concurrency_limits/", json={"name": name, "limit": slots}).raise_for_status()
        made.append(name)

    yield limit
    for name in made:
        prefect_api.delete(f"v2/concurrency_limits/{name}").raise_for_status()


def slots_taken(prefect_api: httpx.Client, name: str) -> int:
    return int(prefect_api.get(f"v2/concurrency_limits/{name}").json()["active_slots"])


def test_two_runs_share_one_sandbox_and_one_provider(
    limited: Callable[[str, int], None], prefect_api: httpx.Client, tmp_path: Path, session_settings: Settings
) -> None:
    limited(sandboxes_of("local"), 1)
    limited(rollouts_at("proxy"), 1)
    homes = [tmp_path / name for name in ("one", "other")]
    for home in homes:
        home.mkdir()
    lines = [CommandLine(home, session_settings) for home in homes]
    what = ("run", "--benchmark", "hello-world", "--attempts", "3", "--sandboxes", "2", *ASKING_A_MODEL)
    runs = [line.start(*what) for line in lines]
    most = 0
    while any(run.poll() is None for run in runs):
        most = max(most, sum(len(line.sandboxes()) for line in lines))
    said = [run.communicate()[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert most == 1
    assert any("Waiting for a slot of the global limit" in each for each in said)
    worked = sorted(span for home in homes for span in rollouts(home))
    assert len(worked) == 6
    assert all(earlier[1] <= later[0] for earlier, later in pairwise(worked)), "two rollouts asked at once"
    assert [slots_taken(prefect_api, name) for name in (sandboxes_of("local"), rollouts_at("proxy"))] == [0, 0]


def rollouts(home: Path) -> list[tuple[datetime, datetime]]:
    """When the task app worked on each, leaving out what it takes to write that down."""
    asked = "SELECT finished_at, json_extract(row, '$.phases.agent') FROM rollouts"
    with sqlite3.connect(home / "results/rollouts.db") as store:
        ends = [(datetime.fromisoformat(at), seconds) for at, seconds in store.execute(asked)]
    return [(end - timedelta(seconds=seconds), end) for end, seconds in ends]


async def test_what_is_not_limited_is_not_asked_for(in_process: None) -> None:
    limit = await Limit.find("engine-bench-nobody-made-this")
    async with limit.slot(), limit.slot():
        pass


async def test_a_server_that_gives_no_slot_is_an_infrastructure_failure(
    in_process: None, limited: Callable[[str, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    limited("engine-bench-vanishes", 1)
    monkeypatch.setattr(limits, "ASKED", 2)
    monkeypatch.setattr(limits, "LEASE", 1)  # less than the server takes

    @flow
    async def ask() -> None:
        async with (await Limit.find("engine-bench-vanishes")).slot():
            pass

    with pytest.raises(limits.InfrastructureError, match="engine-bench-vanishes"):
        await ask()


@pytest.mark.slow
def test_the_slot_of_a_killed_run_is_free_once_its_lease_is_over(
    in_process: None, limited: Callable[[str, int], None], prefect_api: httpx.Client, server: object
) -> None:
    name = "engine-bench-killed"
    limited(name, 1)
    environment = os.environ | {"PREFECT_API_URL": str(prefect_api.base_url).rstrip("/")}
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, name], env=environment, stdout=subprocess.PIPE, text=True)
    assert holder.stdout
    assert "held" in holder.stdout.readline()
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert slots_taken(prefect_api, name) == 1

    @flow
    async def ask() -> int:
        async with (await Limit.find(name)).slot():
            return slots_taken(prefect_api, name)

    assert asyncio.run(ask()) == 1
    assert slots_taken(prefect_api, name) == 0
