"""`make serve` as a process of its own, and what a person could see of it and do to it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import httpx
import psutil

PATIENCE = 300.0
"""Seconds that anything may take on a busy machine; nothing that works comes near."""

FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

Seen = TypeVar("Seen")


def eventually(look: Callable[[], Seen | None], what: str, patience: float = PATIENCE) -> Seen:
    """What `look` returns once that is something."""
    deadline = time.monotonic() + patience
    while not (seen := look()):
        assert time.monotonic() < deadline, f"{what}: not within {patience:g} s"
        time.sleep(0.05)
    return seen


class Finished(NamedTuple):
    code: int
    output: str


def rust() -> dict[str, str]:
    """Where the toolchain is, which a person with a home of their own would not find."""
    homes = {"CARGO_HOME": ".cargo", "RUSTUP_HOME": ".rustup"}
    return {name: os.environ.get(name, str(Path.home() / folder)) for name, folder in homes.items()}


class Person:
    """Somebody's shell, with directories of its own in place of a home."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        kept = ("PATH", "LANG", "CARGO_HOME", "RUSTUP_HOME")
        self.environment = {name: os.environ[name] for name in kept if name in os.environ} | {
            "HOME": str(folder),
            "PREFECT_HOME": str(folder / "prefect"),
            "ENGINE_BENCH_DATA_DIR": str(folder / "data"),
            "ENGINE_BENCH_CACHE_DIR": str(folder / "cache"),
            "ENGINE_BENCH_RESULTS_DIR": str(folder / "results"),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "COLUMNS": "200",
            **environment,
        }

    def start(self, *command: str, output: int | Any = subprocess.PIPE, **environment: str) -> "subprocess.Popen[str]":
        """A Python module with its arguments, in a process group of its own like a shell's."""
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *command: str, **environment: str) -> Finished:
        process = self.start(*command, **environment)
        output, _ = process.communicate(timeout=PATIENCE)
        return Finished(process.returncode, output)

    def sandboxes(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "cache" / "sandboxes").glob("*/"))

    def processes(self) -> Iterator[psutil.Process]:
        """All that live and mention this person's folder: servers, workers, runs, task apps."""
        for process in psutil.process_iter():
            try:
                told = f"{process.cmdline()} {process.cwd()} {process.environ()}"
                alive = process.status() != psutil.STATUS_ZOMBIE
            except psutil.Error:
                continue
            if alive and str(self.folder) in told:
                yield process

    def running(self, *words: str) -> list[psutil.Process]:
        """Those of its processes whose command line holds all of these words."""
        return [process for process in self.processes() if all(word in _command(process) for word in words)]


class Server:
    """A Prefect server's REST API, which is what its UI shows too."""

    def __init__(self, api_url: str) -> None:
        self.api_url = api_url
        self.http = httpx.Client(base_url=f"{api_url}/", timeout=PATIENCE, trust_env=False)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Like Prefect's own client it asks again where the database was busy."""

        def answer() -> httpx.Response | None:
            response = self.http.request(method, path, **options)
            return None if response.status_code == 503 else response.raise_for_status()

        return eventually(answer, f"{method} {path}")

    def post(self, path: str, **body: Any) -> Any:
        return self.ask("POST", path, json=body).json()

    def get(self, path: str) -> Any:
        return self.ask("GET", path).json()

    def deployment(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"deployments/name/{name}")
        return found

    def press_run(
        self, deployment: str, environment: dict[str, str] | None = None, *, later: bool = False, **parameters: Any
    ) -> str:
        """What the Run form does. Returns the flow run's id; a run for later is begun by nobody."""
        found = self.deployment(deployment)
        variables = {"env": {**found["job_variables"]["env"], **(environment or {})}}
        run = self.post(
            f"deployments/{found['id']}/create_flow_run",
            parameters=parameters,
            job_variables=variables,
            state={"type": "SCHEDULED", "state_details": _due(later=later)},
        )
        return str(run["id"])

    def state(self, run: str) -> dict[str, Any]:
        state: dict[str, Any] = self.get(f"flow_runs/{run}")["state"]
        return state

    def set_state(
        self, run: str, type_: str, name: str | None = None, message: str = "", *, force: bool = False
    ) -> str:
        """As the UI's buttons do, by force as the server's own services. Returns ACCEPT, REJECT or ABORT."""
        state = {"type": type_, "name": name or type_.title(), "message": message, "state_details": _due(later=True)}
        answer = self.post(f"flow_runs/{run}/set_state", state=state, force=force)
        return str(answer["status"])

    def retry(self, run: str) -> None:
        """The button of that name."""
        state = {"type": "SCHEDULED", "name": "AwaitingRetry", "state_details": _due(later=False)}
        answer = self.post(f"flow_runs/{run}/set_state", state=state, force=False)
        assert answer["status"] == "ACCEPT", answer

    def answers(self) -> bool:
        try:
            return self.http.get("health").status_code == 200
        except httpx.TransportError:
            return False

    def ended(self, run: str, patience: float = PATIENCE) -> dict[str, Any]:
        """The run's final state."""

        def look() -> dict[str, Any] | None:
            state = self.state(run)
            return state if state["type"] in FINAL else None

        return eventually(look, f"the end of run {run}", patience)

    def tasks(self, run: str) -> dict[str, str]:
        """The state of each step of lane 1, the last try of it."""
        found = self.post("task_runs/filter", flow_runs={"id": {"any_": [run]}}, sort="EXPECTED_START_TIME_ASC")
        return {task["name"].split(" ")[0]: task["state_name"] for task in found}

    def log(self, run: str) -> list[str]:
        """Its lines so far."""
        found: list[str] = []
        while page := self.post(
            "logs/filter", logs={"flow_run_id": {"any_": [run]}}, sort="TIMESTAMP_ASC", offset=len(found)
        ):
            found += [line["message"] for line in page]
        return found

    def in_step(self, run: str, step: str) -> None:
        """Wait until the run works on this step."""

        def look() -> bool:
            state = self.state(run)
            assert state["type"] not in FINAL, f"{state['name']}: {state['message']}"
            return self.tasks(run).get(step) == "Running"

        eventually(look, f"step {step} of run {run}")

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        """Its runs, the latest first."""
        flow, name = deployment.split("/")
        found: list[dict[str, Any]] = self.post(
            "flow_runs/filter",
            flows={"name": {"any_": [flow]}},
            deployments={"name": {"any_": [name]}},
            sort="START_TIME_DESC",
        )
        return found


class Service:
    """`make serve`, from its start to Ctrl-C."""

    def __init__(self, person: Person, **environment: str) -> None:
        self.person = person
        self.log = person.folder / "serve.log"
        with self.log.open("w") as log:
            self.process = person.start("deployments.serve", output=log, **environment)
        try:
            eventually(self._in_service, "make serve")
        except AssertionError:
            self.process.terminate()
            self.process.wait()
            raise
        self.server = Server(environment.get("PREFECT_API_URL") or self._address())

    def _in_service(self) -> bool:
        said = self.log.read_text()
        assert self.process.poll() is None, said
        return "in service" in said and "Worker '" in said

    def _address(self) -> str:
        """As it tells the person to use it in another terminal."""
        (line,) = [line for line in self.log.read_text().splitlines() if "export PREFECT_API_URL=" in line]
        return line.partition("=")[2]

    def press_ctrl_c(self) -> None:
        """The terminal sends SIGINT to the whole foreground group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def stop(self) -> Finished:
        self.press_ctrl_c()
        return Finished(self.process.wait(PATIENCE), self.log.read_text())


def _due(*, later: bool) -> dict[str, str]:
    """What a Scheduled state holds; later is after the end of the tests."""
    return {"scheduled_time": (datetime.now(UTC) + timedelta(hours=12 if later else 0)).isoformat()}


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
