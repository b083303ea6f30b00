"""The local Prefect server: started in the background where no other is configured, reused by later runs."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Literal

import httpx
import psutil
from filelock import FileLock
from pydantic import BaseModel, ValidationError

from core.errors import ConfigurationError, InfrastructureError
from core.settings import Settings

DEFAULT_PORT = 4200
START_TIMEOUT = 120
"""Seconds. A first start creates the database and takes about 12 s on 2 cores."""
STOP_TIMEOUT = 20
LOG_LINES = 20


class ServerRecord(BaseModel):
    """Which process is our server; the start time tells it from another one that got its pid later."""

    pid: int
    started_at: float
    port: int

    @property
    def ui_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        return f"{self.ui_url}/api"

    def process(self) -> psutil.Process | None:
        """The server's process, None once it has ended."""
        try:
            process = psutil.Process(self.pid)
            alive = process.create_time() == self.started_at and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if alive else None


ServerState = Literal["running", "not answering", "stopped"]


class LocalServer:
    """The one Prefect server of this user, with a database of its own under the data directory."""

    def __init__(self, settings: Settings) -> None:
        self.home = settings.data_dir / "prefect"
        self.log = self.home / "server.log"
        self._record = self.home / "server.json"
        self._lock = self.home / "server.lock"

    def find(self) -> ServerRecord | None:
        """The record of the server if its process is alive."""
        try:
            record = ServerRecord.model_validate_json(self._record.read_text())
        except (FileNotFoundError, ValidationError):
            return None
        return record if record.process() else None

    def state(self) -> tuple[ServerState, ServerRecord | None]:
        record = self.find()
        if record is None:
            return "stopped", None
        return ("running" if _answers(record) else "not answering"), record

    def ensure(self, announce: Callable[[str], None]) -> ServerRecord:
        """The running server, started first if there is none; two callers at once start one.

        Raises:
            InfrastructureError: it did not come up; the message shows the end of its log.
        """
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with FileLock(self._lock):
            record = self.find()
            if record is not None:
                self._await_answer(record)
                return record
            announce("Starting a local Prefect server (about 10 s; it stays up for later runs)")
            return self._start()

    def stop(self) -> ServerRecord | None:
        """Stop the server and return what was stopped, None if nothing ran."""
        record = self.find()
        process = record.process() if record else None
        if process is not None:
            family = [process, *process.children(recursive=True)]
            process.terminate()
            _, survivors = psutil.wait_procs(family, timeout=STOP_TIMEOUT)
            for survivor in survivors:
                survivor.kill()
            psutil.wait_procs(survivors, timeout=STOP_TIMEOUT)
        self._record.unlink(missing_ok=True)
        return record

    def _start(self) -> ServerRecord:
        """A server that answers; at any port where somebody else has taken the first one meanwhile."""
        record = self._spawn(_free_port(DEFAULT_PORT))
        try:
            self._await_answer(record)
        except InfrastructureError:
            if _is_free(record.port):
                raise
            # not the next one: others who start a server just now would meet us there again
            record = self._spawn(_free_port(0))
            self._await_answer(record)
        return record

    def _spawn(self, port: int) -> ServerRecord:
        environment = os.environ | {
            "PREFECT_HOME": str(self.home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_UI_URL": f"http://127.0.0.1:{port}",
            # the pages would ask the default port otherwise, and show another server's runs, or none
            "PREFECT_UI_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_LOGGING_SERVER_LEVEL": "WARNING",
            # kept in memory, the slots that are held when it stops would never be free again
            "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        }
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        with self.log.open("wb") as log:
            child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        record = ServerRecord(pid=child.pid, started_at=psutil.Process(child.pid).create_time(), port=port)
        self._record.write_text(record.model_dump_json())
        return record

    def _await_answer(self, record: ServerRecord) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not _answers(record):
            if record.process() is None:
                raise InfrastructureError(f"The Prefect server ended while starting.\n{self._log_tail()}")
            if time.monotonic() > deadline:
                raise InfrastructureError(
                    f"The Prefect server at {record.ui_url} does not answer. "
                    f"`engine-bench server stop` and try again; its log: {self.log}\n{self._log_tail()}"
                )
            time.sleep(0.1)

    def _log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES:])


def check_api(api_url: str, headers: dict[str, str]) -> None:
    """Make sure that a configured Prefect API answers.

    Raises:
        ConfigurationError: it refuses the key.
        InfrastructureError: it can't be reached, or is not a Prefect API.
    """
    try:
        answer = httpx.get(f"{api_url.rstrip('/')}/health", headers=headers, timeout=10)
    except httpx.HTTPError as error:
        raise InfrastructureError(
            f"The Prefect API at {api_url} can't be reached ({type(error).__name__}). "
            "Start that server, or unset PREFECT_API_URL to use a local one."
        ) from error
    if answer.status_code in (401, 403):
        raise ConfigurationError(f"The Prefect API at {api_url} refused the key. Check PREFECT_API_KEY.")
    if answer.status_code != 200:
        raise InfrastructureError(
            f"{api_url} answered {answer.status_code} to a health check. "
            "PREFECT_API_URL must name a Prefect API; for a server it ends in /api."
        )


def _answers(record: ServerRecord) -> bool:
    """Whether our process, and no other that took the port before it, answers as a Prefect server."""
    if not _listens(record):
        return False
    try:
        return httpx.get(f"{record.api_url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def _listens(record: ServerRecord) -> bool:
    process = record.process()
    if process is None:
        return False
    try:
        family = [process, *process.children(recursive=True)]
        sockets = [connection for member in family for connection in member.net_connections(kind="tcp")]
    except psutil.NoSuchProcess:
        return False
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == record.port for each in sockets)


def _free_port(wanted: int) -> int:
    """The wanted one or one after it; any where those are taken, or where 0 is wanted."""
    if wanted:
        for port in range(wanted, wanted + 50):
            if _is_free(port):
                return port
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False
