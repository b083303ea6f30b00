"""`make serve` and what is typed beside it."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.pull import ROOT
from deployments.work_pool import QUEUES
from tests.deployments.conftest import slow_benchmark
from tests.deployments.service import PATIENCE, Person, Server, Service, eventually

pytestmark = pytest.mark.slow

AS_TYPED = ("prefect", "deployment", "run")
SLOW = {"benchmark": "engine-bench", "agent": "gold", "attempts": 100, "concurrency": 1}


# Beside a service that runs


def test_a_deployment_runs_as_typed_and_shows_its_steps(person: Person, server: Server):
    run = person(
        *AS_TYPED,
        *("engine-bench/local", "--param", "benchmark=hello-world", "--param", "agent=gold", "--watch"),
        PREFECT_API_URL=server.api_url,
    )
    assert run.code == 0, run.output
    steps = ("provision", "upload", "install", "start", "health", "eval", "cleanup")
    said = [run.output.index(f"{step} · lane 1") for step in steps]
    assert said == sorted(said)
    assert person.sandboxes() == []


@pytest.mark.parametrize(
    ("parameter", "reason"),
    [
        ("seeds=many", "'many' is not of type 'integer'"),
        ("seeds=-1", "-1 is less than the minimum of 0"),
        ("agent=nobody", "'nobody' is not one of"),
        ("backend=moon", "'moon' is not one of"),
        ("seed=3", "'seed'"),
    ],
)
def test_a_bad_parameter_is_refused_before_there_is_a_run(person: Person, server: Server, parameter, reason):
    before = len(server.runs("engine-bench/local"))
    run = person(*AS_TYPED, "engine-bench/local", "--param", parameter, PREFECT_API_URL=server.api_url)
    assert run.code == 1
    assert reason in " ".join(run.output.split())
    assert len(server.runs("engine-bench/local")) == before


def test_the_queues_have_their_limits(server: Server):
    found = server.post("work_pools/engine-bench/queues/filter")
    assert {queue["name"]: queue["concurrency_limit"] for queue in found if queue["name"] in QUEUES} == QUEUES
    assert server.get("work_pools/engine-bench")["type"] == "process"


def test_runs_beyond_the_limit_wait_their_turn(person: Person, server: Server):
    """With a limit of 1 the second run begins once the first has ended, and is not dropped."""
    queues = server.post("work_pools/engine-bench/queues/filter")
    (local,) = [queue for queue in queues if queue["name"] == "local"]
    path = f"work_pools/engine-bench/queues/{local['name']}"
    server.ask("PATCH", path, json={"concurrency_limit": 1})
    try:
        runs = [server.press_run("engine-bench/local", **SLOW | {"attempts": 5}) for _ in range(2)]
        states = [server.ended(run) for run in runs]
    finally:
        server.ask("PATCH", path, json={"concurrency_limit": QUEUES["local"]})
    assert [state["type"] for state in states] == ["COMPLETED", "COMPLETED"]
    first, second = sorted((server.get(f"flow_runs/{run}") for run in runs), key=lambda run: run["start_time"])
    assert second["start_time"] >= first["end_time"]


def test_a_nightly_that_goes_on_is_not_doubled(server: Server):
    limit = server.deployment("engine-bench/nightly")
    assert limit["global_concurrency_limit"]["limit"] == 1
    going_on, next_due = (server.press_run("engine-bench/nightly", later=True) for _ in range(2))
    assert server.set_state(going_on, "PENDING") == "ACCEPT"
    server.set_state(next_due, "PENDING")
    assert server.state(next_due)["type"] == "CANCELLED"
    assert server.state(going_on)["type"] == "PENDING"
    server.set_state(going_on, "CANCELLED")


def test_the_schedules_are_active_in_their_time_zone(server: Server):
    for name, cron in (("engine-bench/nightly", "0 3 * * *"), ("sweep-sandboxes/hourly", "17 * * * *")):
        (schedule,) = server.deployment(name)["schedules"]
        assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == (cron, "UTC")
        assert schedule["active"]
        eventually(lambda name=name: server.runs(name), f"scheduled runs of {name}")


def test_a_nightly_without_a_key_says_what_is_missing(server: Server):
    state = server.ended(server.press_run("engine-bench/nightly", agent="gold", model=""))
    assert state["type"] == "FAILED"
    assert "DAYTONA_API_KEY" in state["message"]


def test_registering_again_asks_nothing_and_doubles_nothing(person: Person, server: Server):
    """On a terminal, where Prefect would ask."""
    known = {deployment["id"] for deployment in server.post("deployments/filter")}
    assert type_on_terminal(person, server, "prefect", "deploy", "--all") == 0
    assert {deployment["id"] for deployment in server.post("deployments/filter")} == known
    automations = server.post("automations/filter")
    registered = person("deployments.register", PREFECT_API_URL=server.api_url)
    assert (registered.code, server.api_url in registered.output) == (0, True), registered.output
    assert len(server.post("automations/filter")) == len(automations)


def type_on_terminal(person: Person, server: Server, *command: str) -> int:
    """Exit code of a module that sees a terminal, at which nobody answers."""
    ours, theirs = pty.openpty()
    try:
        return subprocess.run(
            [sys.executable, "-m", *command],
            env=person.environment | {"PREFECT_API_URL": server.api_url, "TERM": "xterm"},
            cwd=ROOT,
            stdin=theirs,
            stdout=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=False,
        ).returncode
    finally:
        os.close(ours)
        os.close(theirs)


def test_registering_without_a_server_says_what_to_do(person: Person):
    registered = person("deployments.register")
    assert registered.code == 1
    assert "make serve" in registered.output


@pytest.mark.parametrize("command", ["deployments.serve", "deployments.register", "deployments.worker"])
def test_a_server_that_is_down_is_named(person: Person, command: str):
    refused = person(command, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert refused.code == 1
    assert "Error: The Prefect API at http://127.0.0.1:9/api can't be reached" in refused.output
    assert "Start that server" in refused.output
    assert "Traceback" not in refused.output


# A service of its own


@pytest.fixture
def other_person(tmp_path: Path) -> Iterator[Person]:
    """Somebody whose local Prefect server runs already."""
    person = Person(tmp_path, ENGINE_BENCH_DIR=str(slow_benchmark(tmp_path / "slow")))
    started = person("flows", "server", "start")
    assert started.code == 0, started.output
    yield person
    person("flows", "server", "stop")
    assert list(person.processes()) == []


def test_ctrl_c_lets_runs_clean_up_and_leaves_what_it_has_not_started(other_person: Person):
    before = {process.pid for process in other_person.processes()}
    service = Service(other_person)
    runs = [service.server.press_run("engine-bench/local", **SLOW) for _ in range(2)]
    for run in runs:
        service.server.in_step(run, "eval")
    assert len(other_person.sandboxes()) == len(runs)
    stopped = service.stop()
    assert stopped.code == 0
    assert "cleaned up first" in stopped.output
    assert other_person.sandboxes() == []
    assert {process.pid for process in other_person.processes()} == before
    documents = [json.loads(path.read_text()) for path in other_person.folder.glob("results/*/result.json")]
    assert [document["status"] for document in documents] == ["cancelled", "cancelled"]
    # the server is still there to tell
    assert [service.server.state(run)["type"] for run in runs] == ["CRASHED", "CRASHED"]
