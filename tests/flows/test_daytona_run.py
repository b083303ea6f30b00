"""A whole run with the Daytona backend on the emulator, graded again: it scores, leaves no sandbox, and no secret."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import SecretStr

from core.keys import task_app_keys
from core.settings import Settings
from flows import steps
from sandboxes.base import Sandbox
from sandboxes.daytona import DaytonaBackend
from tests.daytona_emulator import Emulator, emulator
from tests.daytona_emulator.execute import environment
from tests.evals.conftest import served
from tests.evals.scripted import ScriptedEvalService

CONSOLE_SCRIPT = Path(sys.executable).with_name("engine-bench")
API_KEY = "dtn_of-a-whole-run-93be"
MODEL_KEYS = {
    "OPENAI_API_KEY": "sk-of-a-whole-run-41aa",
    "ANTHROPIC_API_KEY": "sk-ant-of-a-whole-run-77c0",
    "INFERENCE_API_KEY": "proxy-of-a-whole-run-d19e",
}
SOLUTION = "printf 'Hello, world!\\n' > hello.txt"
SPY = "env; cat /proc/*/environ /proc/*/cmdline 2>&1; true"
"""What an agent's log is kept of, and might hold."""


class CommandLine:
    """`engine-bench` in a home of its own."""

    def __init__(self, home: Path, log_level: str = "DEBUG") -> None:
        self.home = home
        kept = ("PATH", "HOME", "LANG", "CARGO_HOME", "RUSTUP_HOME")
        self._environment = {name: os.environ[name] for name in kept if name in os.environ} | {
            "ENGINE_BENCH_DATA_DIR": str(home / "data"),
            "ENGINE_BENCH_CACHE_DIR": str(home / "cache"),
            "ENGINE_BENCH_RESULTS_DIR": str(home / "results"),
            "PREFECT_LOGGING_LEVEL": log_level,
        }

    def __call__(self, *words: str, emu: Emulator | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [CONSOLE_SCRIPT, *words],
            cwd=self.home,
            env=self._environment | (environment(emu) if emu else {}) | variables,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def engine_bench(tmp_path: Path) -> Iterator[CommandLine]:
    command_line = CommandLine(tmp_path)
    yield command_line
    command_line("server", "stop")


async def test_a_run_scores_and_leaves_neither_sandbox_nor_secret(engine_bench: CommandLine) -> None:
    async with emulator_with_commands() as emu:
        words = ("run", "--daytona", "--benchmark", "hello-world", "--snapshot", "none", "--json")
        agent = ("--agent", "command", "--agent-command", f"{SOLUTION}; {SPY}")
        done = engine_bench(*words, *agent, emu=emu, **MODEL_KEYS)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["mean_reward"] == 1.0
        assert await emu.sandboxes() == []
        # What was said in the sandbox is kept when it fails, and so is what the API said.
        await emu.fault("error", match="/process/session", status=400, message=f"it was {API_KEY}", times=None)
        failed = engine_bench(*words, "--agent", "gold", emu=emu, **MODEL_KEYS)
        assert failed.returncode == 1
        assert "it was" in failed.stderr
        assert await emu.sandboxes() == []
        secrets = {API_KEY, *MODEL_KEYS.values(), *await tokens(emu), *await task_app_secrets(emu, engine_bench.home)}
    assert len(secrets) == 1 + 3 + 1 + 2
    assert exposed(secrets, engine_bench.home, done, failed) == []


@pytest.mark.slow
async def test_a_url_that_lets_a_hosted_eval_service_in_shows_nowhere(engine_bench: CommandLine) -> None:
    hosted = ScriptedEvalService()
    hosted.results = [{"seed": 0, "reward": 1.0}]
    service_key = hosted.api_key.get_secret_value()
    async with emulator_with_commands() as emu:
        with served(hosted):
            where = {"SYNTH_BACKEND_URL": hosted.url, "SYNTH_API_KEY": service_key}
            words = ("run", "--daytona", "--agent", "gold", "--benchmark", "hello-world", "--snapshot", "none")
            done = engine_bench(*words, emu=emu, **where)
        assert done.returncode == 0, done.stderr
        assert await emu.sandboxes() == []
        (link,) = [entry for entry in await emu.journal() if entry.path.endswith("signed-preview-url")]
        assert link.response["url"].rstrip("/") in json.dumps(hosted.submitted)
        secrets = {API_KEY, service_key, *await tokens(emu), *await task_app_secrets(emu, engine_bench.home)}
        valid = int(link.query.removeprefix("expiresInSeconds="))
        (made,) = await creations(emu)
    assert valid == made["ttlMinutes"] * 60
    assert len(secrets) == 1 + 1 + 2 + 1
    assert exposed(secrets, engine_bench.home, done) == []


def exposed(secrets: set[str], home: Path, *done: subprocess.CompletedProcess[str]) -> list[str]:
    """Everything that runs have left behind with a secret in it: files (Prefect's database too), what they printed."""
    left = {f"output {at}": f"{each.stdout}\n{each.stderr}".encode() for at, each in enumerate(done)} | {
        str(path): path.read_bytes() for path in home.rglob("*") if path.is_file()
    }
    assert any(name.endswith("prefect.db") for name in left)
    return [name for name, content in left.items() for secret in secrets if secret.encode() in content]


@asynccontextmanager
async def emulator_with_commands() -> AsyncIterator[Emulator]:
    async with emulator(api_key=API_KEY) as emu:
        if emu.isolation == "none":
            pytest.skip(f"sandboxes can't run commands on this machine: {'; '.join(emu.limits)}")
        yield emu


async def test_an_eval_shows_again_and_again_that_its_sandbox_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "HEARTBEAT", 0.01)
    beats = asyncio.Semaphore(0)

    class Backend(DaytonaBackend):
        async def keep_alive(self, sandbox: Sandbox) -> None:
            beats.release()

    backend = Backend(Settings(daytona_api_key=SecretStr(API_KEY)))
    async with steps.kept_alive(backend, Sandbox(backend="daytona", name="eb-1", id="1", workdir="/app")):
        for _ in range(3):
            await asyncio.wait_for(beats.acquire(), 30)


class Weather(NamedTuple):
    """A fault that is there when a run begins, and how the run ends in it."""

    kind: Any
    options: dict[str, Any]
    exit_code: int = 0
    says: str = ""


WEATHER = [
    Weather("slow_boot", {"seconds": 2}),
    Weather("failed_boot", {"message": "no runner"}, says="no runner"),
    Weather("failed_boot", {"message": "no runner", "times": None}, exit_code=1, says="no runner"),
    Weather("build_failed", {"message": "no such image"}, says="no such image"),
    Weather("build_failed", {"message": "no such image", "times": None}, exit_code=1, says="no such image"),
    Weather("rate_limited", {"match": "POST /sandbox$"}),
    Weather("quota", {}, says="quota is exhausted"),
    Weather("create_timeout", {"seconds": 2}),
    Weather("error", {"match": "/toolbox/.*/process/execute", "status": 502}),
    Weather("toolbox_down", {"lasts": 20}),
    Weather("conflict", {"match": "DELETE", "times": 2}),
    Weather("stuck_deleting", {"seconds": 2}),
    Weather("delete_denied", {"times": None}),
    Weather("error", {"match": "/toolbox/", "status": 401, "times": None}, exit_code=1, says="refused the API key"),
]


@pytest.mark.slow
@pytest.mark.parametrize("weather", WEATHER, ids=lambda weather: f"{weather.kind}-{weather.options}")
async def test_in_any_weather_a_run_ends_well_or_says_why_and_leaves_nothing(
    weathered: CommandLine, weather: Weather
) -> None:
    async with emulator_with_commands() as emu:
        await emu.fault(weather.kind, **weather.options)
        words = ("run", "--daytona", "--agent", "gold", "--benchmark", "hello-world", "--snapshot", "none", "--json")
        done = weathered(*words, emu=emu)
        assert done.returncode == weather.exit_code, done.stderr
        assert weather.says in done.stderr
        assert "Traceback" not in done.stderr
        assert await emu.sandboxes() == []


@pytest.fixture(scope="module")
def weathered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """One server for all of them."""
    command_line = CommandLine(tmp_path_factory.mktemp("home"), log_level="INFO")
    yield command_line
    command_line("server", "stop")


async def tokens(emu: Emulator) -> set[str]:
    """Those of all preview URLs that were given out."""
    return {entry.response["token"] for entry in await emu.journal() if entry.path.endswith("preview-url")}


async def task_app_secrets(emu: Emulator, home: Path) -> set[str]:
    """The key of each sandbox's task app."""
    names = {made["name"] for made in await creations(emu)}
    return {task_app_keys(home / "data", name).api_key.get_secret_value() for name in names}


async def creations(emu: Emulator) -> list[dict[str, Any]]:
    return [entry.request for entry in await emu.journal() if (entry.method, entry.path) == ("POST", "/sandbox")]
