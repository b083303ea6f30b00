"""The sweep removes what nobody needs any more, of ours alone, and tells what it did."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from daytona import CreateSandboxFromSnapshotParams
from prefect.client.schemas.objects import FlowRun, State, StateType

from core.errors import InfrastructureError
from core.settings import Settings
from flows.engine_bench import engine_bench
from flows.hooks import remove_own_sandboxes
from flows.sweep import Verdict, removal_reason, sweep_sandboxes
from sandboxes.base import SandboxRecord, SandboxSpec
from sandboxes.daytona import DaytonaBackend
from sandboxes.daytona.labels import labels_for
from sandboxes.local import LocalBackend
from tests.daytona_emulator import Emulator, emulator
from tests.daytona_emulator.execute import environment
from tests.sandboxes.daytona_harness import sdk_for

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)

PROVISIONER = """
import asyncio, sys
from sandboxes.base import SandboxSpec
from sandboxes.local import LocalBackend
from core.settings import Settings
asyncio.run(LocalBackend(Settings(cache_dir=sys.argv[1])).provision(SandboxSpec.model_validate_json(sys.argv[2])))
"""


def state(type_: StateType | None) -> State | None:
    return State(type=type_) if type_ else None


@pytest.mark.parametrize(
    ("expires_at", "owner_alive", "run", "reason"),
    [
        (NOW + HOUR, None, StateType.RUNNING, None),
        (NOW + HOUR, True, StateType.RUNNING, None),
        (NOW + HOUR, None, StateType.SCHEDULED, None),
        (NOW + HOUR, None, StateType.CANCELLING, None),
        (NOW + HOUR, False, StateType.RUNNING, "process"),
        (NOW, None, StateType.RUNNING, "expired"),
        (NOW - HOUR, True, StateType.RUNNING, "expired"),
        (NOW + HOUR, None, StateType.COMPLETED, "Completed"),
        (NOW + HOUR, True, StateType.CRASHED, "Crashed"),
        (NOW + HOUR, None, StateType.FAILED, "Failed"),
        (NOW + HOUR, None, StateType.CANCELLED, "Cancelled"),
        (NOW + HOUR, None, None, "unknown"),
        (NOW + HOUR, True, None, None),
        (NOW + HOUR, False, None, "process"),
    ],
)
def test_what_may_go(expires_at, owner_alive, run, reason):
    spec = SandboxSpec(name="eb-1", run_id="1", lane=0)
    record = SandboxRecord(spec=spec, expires_at=expires_at, owner_alive=owner_alive)
    given = removal_reason(record, state(run), NOW, unknown_runs=True)
    assert given is None if reason is None else reason in (given or "")


def test_unknown_runs_can_be_spared():
    record = SandboxRecord(spec=SandboxSpec(name="eb-1", run_id="1", lane=0), expires_at=NOW + HOUR)
    assert removal_reason(record, None, NOW, unknown_runs=False) is None
    assert removal_reason(record.model_copy(update={"expires_at": NOW}), None, NOW, unknown_runs=False)


@pytest.fixture
def settings(in_process: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("ENGINE_BENCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("DAYTONA_API_KEY", raising=False)
    return Settings()


@pytest.fixture
def backend(settings: Settings) -> LocalBackend:
    return LocalBackend(settings)


@pytest.fixture
def flow_run(prefect_api: httpx.Client) -> Callable[[str], str]:
    """Makes a flow run in a state, and gives its id."""
    flow = prefect_api.post("flows/", json={"name": "engine-bench"}).json()["id"]

    def make(type_: str) -> str:
        run = prefect_api.post("flow_runs/", json={"flow_id": flow, "state": {"type": type_}})
        return str(run.raise_for_status().json()["id"])

    return make


@pytest.fixture
def specs(settings: Settings) -> Callable[..., SandboxSpec]:
    """Specs with new names; a record may be provisioned by a process that has ended since."""

    def make(run_id: str, *, lifetime: int = 3600, dead: bool = False) -> SandboxSpec:
        spec = SandboxSpec(name=f"eb-{uuid4().hex[:20]}", run_id=run_id, lane=0, lifetime=lifetime)
        if dead:
            provision = [sys.executable, "-c", PROVISIONER, str(settings.cache_dir), spec.model_dump_json()]
            subprocess.run(provision, check=True)
        return spec

    return make


def left(settings: Settings) -> set[str]:
    return {path.name for path in settings.sandboxes_dir.glob("*/")}


async def test_it_removes_what_nobody_needs_and_keeps_the_rest(backend, settings, specs, flow_run, prefect_api):
    running, finished = specs(flow_run("RUNNING")), specs(flow_run("COMPLETED"))
    elsewhere = specs(str(uuid4()))
    expired = specs(flow_run("RUNNING"), lifetime=1)
    died, unknown = specs(flow_run("RUNNING"), dead=True), specs("no id of Prefect", dead=True)
    for spec in (running, finished, elsewhere, expired):
        await backend.provision(spec)
    record = settings.sandboxes_dir / expired.name / "owner.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"expires_at": 1.0}))
    strangers = [settings.sandboxes_dir / "eb-a-strangers", settings.sandboxes_dir / "notes"]
    for path in strangers:
        path.mkdir()
        (path / "file").touch()

    verdicts: list[Verdict] = await sweep_sandboxes()

    outcomes = {verdict.sandbox: verdict.outcome for verdict in verdicts}
    assert outcomes == {
        running.name: "kept",
        elsewhere.name: "kept",
        finished.name: "removed",
        expired.name: "removed",
        died.name: "removed",
        unknown.name: "removed",
    }
    assert left(settings) == {running.name, elsewhere.name, *(path.name for path in strangers)}
    assert all((path / "file").exists() for path in strangers)
    assert _artifact(prefect_api) == [verdict.model_dump() for verdict in verdicts]


async def test_a_dry_run_only_lists(settings, specs, flow_run, prefect_api):
    spec = specs(flow_run("RUNNING"), dead=True)
    (verdict,) = await sweep_sandboxes(dry_run=True)
    assert (verdict.sandbox, verdict.outcome) == (spec.name, "would be removed")
    assert left(settings) == {spec.name}
    assert _artifact(prefect_api) == [verdict.model_dump()]


async def test_one_that_cannot_be_removed_fails_the_sweep_and_spares_no_other(
    backend, settings, specs, flow_run, prefect_api, monkeypatch
):
    stuck, other = specs(flow_run("CRASHED"), dead=True), specs(flow_run("CRASHED"), dead=True)
    cleanup = LocalBackend.cleanup

    async def stubborn(self: LocalBackend, spec: SandboxSpec) -> None:
        if spec == stuck:
            raise InfrastructureError("the disk is read-only")
        await cleanup(self, spec)

    monkeypatch.setattr(LocalBackend, "cleanup", stubborn)
    with pytest.raises(InfrastructureError, match=rf"not complete.*{stuck.name}.*read-only"):
        await sweep_sandboxes()
    assert left(settings) == {stuck.name}
    rows = {row["sandbox"]: row["outcome"] for row in _artifact(prefect_api)}
    assert rows == {stuck.name: "not removed", other.name: "removed"}


async def test_a_backend_that_does_not_answer_fails_the_sweep_and_spares_no_other(
    settings, specs, flow_run, monkeypatch
):
    """Daytona's, with a key, at an address where nobody listens."""
    monkeypatch.setenv("DAYTONA_API_KEY", "dtn-of-nobody")
    monkeypatch.setenv("DAYTONA_API_URL", "http://127.0.0.1:9/api")
    specs(flow_run("CRASHED"), dead=True)
    with pytest.raises(InfrastructureError, match="not complete"):
        await sweep_sandboxes()
    assert left(settings) == set()


@pytest.fixture
async def cloud(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Emulator]:
    """An account at Daytona whose sandboxes need not run anything."""
    async with emulator(isolation="none") as emu:
        for name, value in environment(emu).items():
            monkeypatch.setenv(name, value)
        yield emu


async def test_in_daytona_nothing_but_our_own_is_touched(cloud, settings, flow_run):
    def labels(run: str) -> dict[str, str]:
        return labels_for(SandboxSpec(name="eb-1", run_id=flow_run(run), lane=0))

    made = {
        "eb-finished": labels("COMPLETED"),
        "eb-running": labels("RUNNING"),
        "a-strangers": {},
        "eb-another-apps": labels("COMPLETED") | {"app": "another"},
        "eb-without-a-date": {name: text for name, text in labels("COMPLETED").items() if name != "expires_at"},
        "eb-without-a-run": {name: text for name, text in labels("COMPLETED").items() if name != "flow_run_id"},
    }
    async with sdk_for(cloud) as sdk:
        for name, its_labels in made.items():
            await sdk.create(CreateSandboxFromSnapshotParams(name=name, labels=its_labels))
    before = {sandbox["name"]: sandbox["id"] for sandbox in await cloud.sandboxes()}

    verdicts, written = await sweep_and_watch(cloud, dry_run=True)
    assert verdicts == {"eb-running": "kept", "eb-finished": "would be removed"}
    assert written == []
    verdicts, written = await sweep_and_watch(cloud, dry_run=False)
    assert verdicts == {"eb-running": "kept", "eb-finished": "removed"}
    assert written == [("DELETE", f"/sandbox/{before.pop('eb-finished')}")]
    assert {sandbox["name"]: sandbox["id"] for sandbox in await cloud.sandboxes()} == before


async def sweep_and_watch(cloud: Emulator, *, dry_run: bool) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Outcomes by sandbox, and all requests that change something."""
    before = len(await cloud.journal())
    verdicts = await sweep_sandboxes(dry_run=dry_run)
    changing = [(entry.method, entry.path) for entry in (await cloud.journal())[before:] if entry.method != "GET"]
    return {verdict.sandbox: verdict.outcome for verdict in verdicts}, changing


async def test_it_hangs_up(settings, cloud, flow_run, monkeypatch):
    """Else the SDK complains of sessions that nobody has closed."""
    closed = []
    hang_up = DaytonaBackend.aclose

    async def aclose(self: DaytonaBackend) -> None:
        closed.append(self)
        await hang_up(self)

    monkeypatch.setattr(DaytonaBackend, "aclose", aclose)
    await sweep_sandboxes()
    flow_id = uuid4()
    crashed = FlowRun(id=flow_run("CRASHED"), flow_id=flow_id, parameters={"backend": "daytona"})
    await remove_own_sandboxes(engine_bench, crashed, State(type=StateType.CRASHED))
    assert len(closed) == 2


async def test_a_hook_removes_the_sandboxes_of_its_own_run(settings, specs, flow_run):
    run, other = flow_run("CRASHED"), flow_run("CRASHED")
    own, others = [specs(run, dead=True) for _ in range(2)], specs(other, dead=True)
    crashed = State(type=StateType.CRASHED)
    for _ in range(2):  # in the run's process, and in the worker's
        await remove_own_sandboxes(engine_bench, FlowRun(id=run, flow_id=uuid4()), crashed)
        assert left(settings) == {others.name}
    assert not {spec.name for spec in own} & left(settings)


@pytest.mark.parametrize("asked", ["resume", "rescore"])
async def test_a_hook_finds_the_sandboxes_of_a_run_that_goes_on_with_another_ones_results(cloud, flow_run, asked):
    """Its parameters have the default backend; that of the other run is not among them."""
    run = flow_run("CRASHED")
    labels = labels_for(SandboxSpec(name="eb-1", run_id=run, lane=0))
    async with sdk_for(cloud) as sdk:
        await sdk.create(CreateSandboxFromSnapshotParams(name="eb-1", labels=labels))
    parameters = {"backend": "local", asked: "20260101-000000-abcd"}
    crashed = FlowRun(id=run, flow_id=uuid4(), parameters=parameters)
    await remove_own_sandboxes(engine_bench, crashed, State(type=StateType.CRASHED))
    assert await cloud.sandboxes() == []


def test_the_hook_is_registered_for_every_bad_ending():
    hooks = (engine_bench.on_failure_hooks, engine_bench.on_crashed_hooks, engine_bench.on_cancellation_hooks)
    assert [remove_own_sandboxes in each for each in hooks] == [True, True, True]


def _artifact(api: httpx.Client) -> list[dict[str, Any]]:
    data: list[dict[str, Any]] = json.loads(
        api.get("artifacts/sweep-sandboxes/latest").raise_for_status().json()["data"]
    )
    return data
