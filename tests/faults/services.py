"""The services that a scene needs: a Prefect server, and a Daytona emulator."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from deployments.pull import ROOT
from deployments.work_pool import WORK_POOL, WORK_POOL_TYPE

PATIENCE = 180.0
"""Seconds that anything may take on a busy machine; nothing that works comes near."""

FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

Seen = TypeVar("Seen")


def eventually(look: Callable[[], Seen | None], what: str) -> Seen:
    """What `look` returns once that is something."""
    deadline = time.monotonic() + PATIENCE
    while not (seen := look()):
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE:g} s"
        time.sleep(0.02)
    return seen


class PrefectServer:
    """A server of the tests' own, at one port however often it goes away."""

    def __init__(self, home: Path, database: str = "") -> None:
        """`database` is a SQLAlchemy URL; without one it is SQLite in `home`."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]
        self._environment = os.environ | {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        if database:
            self._environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database
        self.url = f"http://127.0.0.1:{self._port}/api"
        self._process: subprocess.Popen[bytes] | None = None
        self._deployed = False

    def start(self) -> None:
        command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self._port)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(self._answers, "the Prefect server")

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def deploy(self) -> None:
        """What a worker needs to run the flow, once. No automations: they begin runs of their own."""
        if self._deployed:
            return
        pool = ("work-pool", "create", WORK_POOL, "--type", WORK_POOL_TYPE)
        deployments = ("deploy", "--name", "engine-bench/local", "--name", "engine-bench/daytona")
        for words in (pool, deployments):
            command = [sys.executable, "-m", "prefect", "--no-prompt", *words]
            environment = self._environment | {"PREFECT_API_URL": self.url}
            done = subprocess.run(
                command,
                env=environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
        self._deployed = True

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(PATIENCE)

    def _answers(self) -> bool:
        assert self._process
        assert self._process.poll() is None, "the Prefect server has ended"
        try:
            return httpx.get(f"{self.url}/health", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def bury(self, flow_run_ids: list[str]) -> None:
        """Mark runs whose process is gone as crashed: in service, the worker or the heartbeat automation does it."""
        for each in flow_run_ids:
            if httpx.get(f"{self.url}/flow_runs/{each}", trust_env=False).json()["state"]["type"] not in FINAL:
                state = {"type": "CRASHED", "name": "Crashed", "message": "Its process is gone."}
                answer = httpx.post(
                    f"{self.url}/flow_runs/{each}/set_state", json={"state": state, "force": True}, trust_env=False
                )
                answer.raise_for_status()


class Cloud:
    """A Daytona emulator, asked from threads and processes alike."""

    def __init__(self, *options: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.daytona_emulator", "--until-stdin-closes", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout
        told = json.loads(self._process.stdout.readline())
        self.isolation: str = told.get("isolation", "none")
        self.limits: list[str] = told.get("limits", [told.get("isolation_refused", "")])
        self.api_key, self.api_url = "emulator-key", told.get("api_url", "")
        self._operator = httpx.Client(
            base_url=self.api_url.removesuffix("api") + "emulator/",
            headers={"Authorization": f"Bearer {self.api_key}"},
            trust_env=False,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def fault(self, kind: str, **options: Any) -> None:
        """See the emulator's README."""
        self._operator.post("faults", json={"kind": kind, **options}).raise_for_status()

    def clear_faults(self) -> None:
        self._operator.delete("faults").raise_for_status()

    def sandboxes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._operator.get("sandboxes").raise_for_status().json()
        return found

    def clear(self) -> None:
        """End all faults and remove all sandboxes; what was built stays."""
        self.clear_faults()
        eventually(lambda: not any(map(self._delete, self.sandboxes())), "the removal of all sandboxes")

    def _delete(self, sandbox: dict[str, Any]) -> bool:
        self._operator.delete(f"{self.api_url}/sandbox/{sandbox['id']}")
        return True

    def refused(self) -> int:
        """How many requests a fault has struck so far."""
        journal = self._operator.get("journal").raise_for_status().json()
        return sum(entry["status"] in (429, 500, 502) for entry in journal)

    def task_apps(self) -> list[psutil.Process]:
        return self._processes("task_app")

    def toolboxes(self) -> list[psutil.Process]:
        """The daemons that Daytona's toolbox API is served by, one inside of each sandbox."""
        return self._processes("--workdir")

    def _processes(self, word: str) -> list[psutil.Process]:
        return [child for child in psutil.Process(self._process.pid).children(recursive=True) if has_word(child, word)]

    def close(self) -> None:
        self._operator.close()
        self._process.communicate(timeout=PATIENCE)  # closes its standard input


def has_word(process: psutil.Process, word: str) -> bool:
    """Whether a process was started with this argument."""
    try:
        return word in process.cmdline()
    except psutil.Error:
        return False


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs: one that nobody has collected does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@contextmanager
def prefect_server(home: Path, database: str = "") -> Iterator[PrefectServer]:
    server = PrefectServer(home, database)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def cloud(*options: str) -> Iterator[Cloud]:
    """An emulator, with the options of its command line."""
    emulator = Cloud(*options)
    try:
        yield emulator
    finally:
        emulator.close()
