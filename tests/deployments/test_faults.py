"""Runs in service that are cancelled, killed, cut off from the server, and retried."""

import asyncio
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from core.settings import Settings
from deployments.automations import Definition, apply_automations, read_automations
from sandboxes.base import SandboxSpec
from sandboxes.local import LocalBackend
from tests.deployments.conftest import slow_benchmark
from tests.deployments.service import PATIENCE, Person, Server, Service, eventually
from tests.deployments.test_serve import SLOW

pytestmark = pytest.mark.slow

STEPS = ("provision", "upload", "install", "start", "health", "eval", "cleanup")

AWAY = 30
"""Seconds that the server is away."""

SLOW_DISK = 3
"""Seconds after which a disk answers that held a step; the cancellation has reached the run by then."""

HEARTBEAT = 30
"""Seconds between two heartbeats of a run, as prefect.yaml has it."""

SCORED = "SELECT correlation_id, finished_at FROM rollouts WHERE run_id = ? AND scored"

EXIT_REPORT = "prefect.flow_runs.worker - Check whether the flow run exceeded its memory"
"""What a worker says of a run that SIGKILL has ended, once it has done all that it does about it."""

STUBBORN = """
import signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("stubborn", flush=True)
signal.pause()
"""


class Run:
    """One flow run of engine-bench/local, from before it begins."""

    def __init__(self, person: Person, server: Server) -> None:
        self.person, self.server = person, server
        self.id = ""
        self.held = ExitStack()

    def begin(self, environment: dict[str, str] | None = None, **parameters: Any) -> None:
        self.id = self.server.press_run("engine-bench/local", environment, **SLOW | parameters)

    @property
    def family(self) -> str:
        """How the names of all its sandboxes begin."""
        return f"eb-{self.id.replace('-', '')[:20]}"

    @property
    def sandbox(self) -> str:
        return f"{self.family}-1"

    @property
    def folder(self) -> Path:
        return self.person.folder / "cache" / "sandboxes" / self.sandbox

    def document(self) -> dict[str, Any]:
        (path,) = self.person.folder.glob(f"results/*-{self.id[-8:]}/result.json")
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    def process(self) -> psutil.Process:
        """The one that runs the flow."""

        return eventually(self.engines, f"the process of run {self.id}")[0]

    def engines(self) -> list[psutil.Process]:
        """The processes that run the flow now."""
        candidates = [*self.person.running("prefect.engine"), *self.person.running("prefect.flow_engine")]
        return [engine for engine in candidates if self.id in _environment(engine)]

    def nothing_is_left(self) -> bool:
        return not self.folder.exists() and not self.person.running(self.sandbox)


@pytest.fixture
def run(person: Person, server: Server) -> Iterator[Run]:
    run = Run(person, server)
    yield run
    run.held.close()
    if run.id and run.server.state(run.id)["type"] not in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}:
        run.server.set_state(run.id, "CANCELLED", force=True)


# Each of these makes a step last until it is let go, by what a slow disk or a slow network does.


@contextmanager
def slow_file(run: Run, name: str) -> Iterator[None]:
    """A file of the sandbox that whoever opens it has to wait for."""
    path = run.folder / name
    os.mkfifo(path)
    yield
    # Both ends at once, so that neither a reader nor a writer waits any more; and nobody shall begin to.
    both = os.open(path, os.O_RDWR)
    path.unlink()
    os.close(both)


@contextmanager
def no_answer() -> Iterator[str]:
    """A package index that takes a connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/simple"


def held_in_provision(run: Run) -> None:
    """By somebody else who works on the sandbox."""
    run.folder.parent.mkdir(parents=True, exist_ok=True)
    run.begin()
    # let go of by another thread
    run.held.enter_context(FileLock(f"{run.folder}.lock", thread_local=False))


def held_in_upload(run: Run) -> None:
    run.begin()
    _provision(run)
    run.held.enter_context(slow_file(run, "server.json"))


def held_in_install(run: Run) -> None:
    index = run.held.enter_context(no_answer())
    run.begin({"ENGINE_BENCH_LOCAL_VENV": "1", "UV_DEFAULT_INDEX": index, "UV_NO_CACHE": "1"})


def held_in_start(run: Run) -> None:
    run.begin()
    _provision(run)
    run.held.enter_context(slow_file(run, "task_app.log"))


def held_in_health(run: Run) -> None:
    run.begin()
    # stopped before it has read all of its own modules, let alone answered
    pid = eventually(lambda: _task_app(run), "the task app")
    os.kill(pid, signal.SIGSTOP)


def held_in_eval(run: Run) -> None:
    run.begin()


def held_in_cleanup(run: Run) -> None:
    """By a process that ignores SIGTERM, for as long as the backend's grace lasts."""
    run.begin(attempts=3)
    run.server.in_step(run.id, "eval")
    stubborn = subprocess.Popen([sys.executable, "-c", STUBBORN], cwd=run.folder, stdout=subprocess.PIPE, text=True)
    assert stubborn.stdout
    assert stubborn.stdout.readline() == "stubborn\n"
    threading.Thread(target=stubborn.wait, daemon=True).start()
    run.held.callback(stubborn.stdout.close)


HOLD: dict[str, Callable[[Run], None]] = dict(
    zip(
        STEPS,
        (
            held_in_provision,
            held_in_upload,
            held_in_install,
            held_in_start,
            held_in_health,
            held_in_eval,
            held_in_cleanup,
        ),
        strict=True,
    )
)


def _provision(run: Run) -> None:
    """Make the sandbox before the run does, which then adopts it."""
    spec = SandboxSpec(name=run.sandbox, run_id=run.id, lane=0)
    backend = LocalBackend(Settings(cache_dir=run.person.folder / "cache"))
    asyncio.run(backend.provision(spec))


def _environment(process: psutil.Process) -> str:
    try:
        return str(process.environ())
    except psutil.Error:
        return ""  # it has just ended


def _task_app(run: Run) -> int | None:
    """Its pid, once the step that has started it is over."""
    try:
        return int(json.loads((run.folder / "server.json").read_text())["process"]["pid"])
    except (FileNotFoundError, ValueError):
        return None


@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_is_cancelled_cleans_up(run: Run, step: str):
    HOLD[step](run)
    run.server.in_step(run.id, step)
    assert run.server.set_state(run.id, "CANCELLING") == "ACCEPT"
    threading.Timer(SLOW_DISK, run.held.close).start()
    state = run.server.ended(run.id)
    assert state["type"] == "CANCELLED", state
    assert run.server.tasks(run.id)["cleanup"] == "Completed"
    assert run.nothing_is_left()
    eventually(lambda: not run.engines(), "its end")
    if step != "cleanup":
        assert run.document()["status"] == "cancelled"


def test_a_killed_run_is_swept_and_a_retry_runs_only_what_has_no_score(run: Run, service: Service):
    """The worker is alive, and notices at once."""
    run.begin(attempts=20)
    run.server.in_step(run.id, "eval")
    eventually(lambda: len(_scored(run)) > 3, "some rollouts")
    reports = service.log.read_text().count(EXIT_REPORT)
    run.process().kill()
    assert run.server.ended(run.id)["type"] == "CRASHED"
    eventually(run.nothing_is_left, "the removal of the sandbox")
    scored = _scored(run)
    assert 3 < len(scored) < 20
    # Prefect's worker reports the exit a second time, some seconds later, and would crash a retry that had begun
    eventually(lambda: service.log.read_text().count(EXIT_REPORT) > reports, "the worker's own report of the exit")
    run.server.retry(run.id)
    assert run.server.ended(run.id)["type"] == "COMPLETED"
    assert run.document()["counts"]["scored"] == 20
    # the same rows, written when they were
    assert scored.items() <= _scored(run).items()
    assert run.nothing_is_left()


def test_a_failed_eval_that_is_retried_runs_in_a_new_sandbox_only_what_has_no_score(run: Run):
    """Each sandbox that the run makes loses its task app, until it may make no more."""
    run.begin(attempts=20)
    run.server.in_step(run.id, "eval")
    eventually(lambda: len(_scored(run)) > 3, "some rollouts")

    def failed() -> bool:
        for process in run.person.running("task_app"):
            with suppress(psutil.Error):
                if run.family in f"{process.cmdline()} {process.cwd()} {process.environ()}":
                    process.kill()
        return bool(run.server.state(run.id)["type"] == "FAILED")

    eventually(failed, "the end of the last sandbox")
    eventually(lambda: not list(run.folder.parent.glob(f"{run.family}*")), "the removal of the sandboxes")
    assert run.document()["status"] == "incomplete"
    scored = _scored(run)
    assert 3 < len(scored) < 20
    run.server.retry(run.id)
    assert run.server.ended(run.id)["type"] == "COMPLETED"
    assert run.document()["counts"]["scored"] == 20
    assert scored.items() <= _scored(run).items()
    assert not list(run.folder.parent.glob(f"{run.family}*"))


# Services of their own


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Person]:
    person = Person(tmp_path, ENGINE_BENCH_DIR=str(slow_benchmark(tmp_path / "slow")))
    yield person
    for process in person.processes():
        process.kill()


@contextmanager
def prefect_server(person: Person, port: int) -> Iterator[Server]:
    """A server that is not `make serve`'s own, with its database in the person's folder."""
    command = ("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))
    process = person.start(*command, output=subprocess.DEVNULL, PREFECT_SERVER_ANALYTICS_ENABLED="false")
    server = Server(f"http://127.0.0.1:{port}/api")
    try:
        eventually(server.answers, "the Prefect server")
        yield server
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_a_server_that_goes_away_for_a_while_costs_nothing(other: Person):
    port = _free_port()
    with prefect_server(other, port) as server:
        service = Service(other, PREFECT_API_URL=server.api_url)
        run = Run(other, server)
        run.begin()
        server.in_step(run.id, "eval")
    time.sleep(AWAY)
    with prefect_server(other, port) as server:
        assert server.ended(run.id)["type"] == "COMPLETED"
        assert run.document()["counts"]["scored"] == SLOW["attempts"]
        assert run.nothing_is_left()
        assert service.stop().code == 0


def test_a_run_that_dies_with_its_worker_is_found_by_its_silence(other: Person):
    """Both are killed, as by a machine that loses its power. The window is shortened to just above the heartbeat."""
    with prefect_server(other, _free_port()) as server:
        service = Service(other, PREFECT_API_URL=server.api_url)
        asyncio.run(_apply_impatiently(server))
        run = Run(other, server)
        run.begin()
        server.in_step(run.id, "eval")
        (worker,) = other.running("worker", "start")
        engine = run.process()
        worker.kill()
        engine.kill()
        assert service.process.wait(PATIENCE) == 1
        assert "The worker has ended with exit code -9" in service.log.read_text()
        assert server.state(run.id)["type"] == "RUNNING"
        state = server.ended(run.id)
        assert state["type"] == "CRASHED"
        assert "Nothing was heard of its process" in state["message"]
        assert not run.nothing_is_left()
        back = Service(other, PREFECT_API_URL=server.api_url)
        eventually(run.nothing_is_left, "the sweep")
        assert server.tasks(run.id)["eval"] == "Running"  # nobody was there to end it
        assert back.stop().code == 0


async def _apply_impatiently(server: Server) -> None:
    with temporary_settings({PREFECT_API_URL: server.api_url}):
        async with get_client() as client:
            await apply_automations(client, [_impatient(automation) for automation in read_automations()])


def _impatient(automation: Definition) -> Definition:
    if "heartbeat" not in automation["name"]:
        return automation
    return {**automation, "trigger": {**automation["trigger"], "within": HEARTBEAT + 5}}


def _scored(run: Run) -> dict[str, str]:
    """Correlation id and time of each scored rollout, from the results store."""
    with closing(sqlite3.connect(run.person.folder / "results" / "rollouts.db")) as store:
        return dict(store.execute(SCORED, (run.id,)).fetchall())
