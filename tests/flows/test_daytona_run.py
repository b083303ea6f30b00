"""A whole run with the Daytona backend on the emulator, graded again: it scores, leaves no sandbox, and no secret."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from core.keys import task_app_keys
from tests.daytona_emulator import Emulator, emulator
from tests.daytona_emulator.execute import environment

CONSOLE_SCRIPT = Path(sys.executable).with_name("engine-bench")
API_KEY = "dtn_of-a-whole-run-93be"


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

    def __call__(self, *words: str, emu: Emulator | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [CONSOLE_SCRIPT, *words],
            cwd=self.home,
            env=self._environment | (environment(emu) if emu else {}),
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
    async with emulator(api_key=API_KEY) as emu:
        if emu.isolation == "none":
            pytest.skip(f"sandboxes can't run commands on this machine: {'; '.join(emu.limits)}")
        words = ("run", "--daytona", "--agent", "gold", "--benchmark", "hello-world", "--snapshot", "none", "--json")
        done = engine_bench(*words, emu=emu)
        assert done.returncode == 0, done.stderr
        document = json.loads(done.stdout)
        assert document["mean_reward"] == 1.0
        again = engine_bench("resume", document["run"], "--rescore", "--json", emu=emu)
        assert again.returncode == 0, again.stderr
        rescored = json.loads(again.stdout)
        assert rescored["rescored"] == {"run": document["run"], "changed": 0, "kept": 0}
        assert (rescored["mean_reward"], rescored["run"] != document["run"]) == (1.0, True)
        assert await emu.sandboxes() == []
        secrets = {API_KEY, *await tokens(emu)}
        names = {request["name"] for request in await creations(emu)}
    secrets |= {task_app_keys(engine_bench.home / "data", name).api_key.get_secret_value() for name in names}
    assert len(secrets) == 5
    left = {"said": f"{done.stdout}{done.stderr}{again.stdout}{again.stderr}".encode()} | {
        str(path): path.read_bytes() for path in engine_bench.home.rglob("*") if path.is_file()
    }
    assert len(left) > 5
    assert [name for name, content in left.items() for secret in secrets if secret.encode() in content] == []


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
    async with emulator(api_key=API_KEY) as emu:
        if emu.isolation == "none":
            pytest.skip(f"sandboxes can't run commands on this machine: {'; '.join(emu.limits)}")
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


async def creations(emu: Emulator) -> list[dict[str, str]]:
    return [entry.request for entry in await emu.journal() if (entry.method, entry.path) == ("POST", "/sandbox")]
