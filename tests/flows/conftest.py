"""A real Prefect server for the tests of this room, and runs of the command line against it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, PREFECT_LOGGING_TO_API_ENABLED, temporary_settings
from tenacity import retry, retry_if_result, stop_after_attempt, wait_exponential

from core.settings import Settings
from flows.server import LocalServer, ServerRecord

CONSOLE_SCRIPT = Path(sys.executable).with_name("engine-bench")


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def session_settings(home: Path) -> Settings:
    return Settings(data_dir=home / "data", cache_dir=home / "cache", results_dir=home / "results")


@pytest.fixture(scope="session")
def server(session_settings: Settings) -> Iterator[ServerRecord]:
    local = LocalServer(session_settings)
    yield local.ensure(announce=lambda _: None)
    local.stop()


class Finished(NamedTuple):
    code: int
    stdout: str
    stderr: str

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.stdout)  # type: ignore[no-any-return]


class CommandLine:
    """`engine-bench` as a person would type it, in a folder of its own."""

    def __init__(self, cwd: Path, settings: Settings) -> None:
        self.cwd = cwd
        self.cache = cwd / "cache"
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        rust = {name: os.environ[name] for name in ("CARGO_HOME", "RUSTUP_HOME") if name in os.environ}
        self.environment = (
            kept
            | rust
            | {
                "ENGINE_BENCH_DATA_DIR": str(settings.data_dir),
                "ENGINE_BENCH_CACHE_DIR": str(self.cache),
                "COLUMNS": "200",
            }
        )

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [str(CONSOLE_SCRIPT), *arguments],
            cwd=self.cwd,
            env=self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str, **environment: str) -> Finished:
        process = self.start(*arguments, **environment)
        stdout, stderr = process.communicate(timeout=300)
        return Finished(process.returncode, stdout, stderr)

    def sandboxes(self) -> list[str]:
        folder = self.cache / "sandboxes"
        return [path.name for path in folder.iterdir() if path.is_dir()] if folder.exists() else []


@pytest.fixture
def command_line(tmp_path: Path, session_settings: Settings, server: ServerRecord) -> CommandLine:
    return CommandLine(tmp_path, session_settings)


class AskingAgain(httpx.HTTPTransport):
    """Does what Prefect's own client does where the server's database is locked for the moment."""

    @retry(
        retry=retry_if_result(lambda response: response.status_code == httpx.codes.SERVICE_UNAVAILABLE),
        wait=wait_exponential(multiplier=0.5),
        stop=stop_after_attempt(8),
        retry_error_callback=lambda attempt: attempt.outcome and attempt.outcome.result(),
    )
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return super().handle_request(request)


@pytest.fixture
def prefect_api(server: ServerRecord) -> Iterator[httpx.Client]:
    """The server's REST API, which is also what its UI shows."""
    with httpx.Client(base_url=f"{server.api_url}/", timeout=30, transport=AskingAgain()) as client:
        yield client


@pytest.fixture
def in_process(server: ServerRecord) -> Iterator[None]:
    """Flows called in this process use the server, but for their logs: those are sent by a thread that outlives it."""
    with temporary_settings({PREFECT_API_URL: server.api_url, PREFECT_LOGGING_TO_API_ENABLED: False}):
        yield
