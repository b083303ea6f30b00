"""What is finished is never lost, and never run twice: lost sandboxes, interrupted runs, `resume`."""

import json
import shutil
import signal
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.flows.conftest import CommandLine

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 180.0
"""Seconds that anything may take on a busy machine."""
MANY = ("run", "--benchmark", "hello-world", "--agent", "gold", "--attempts", "100", "--concurrency", "1")


def test_an_interrupted_run_is_resumed_with_what_is_missing(command_line: CommandLine) -> None:
    process = command_line.start(*MANY)
    _await_rollouts(process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    before = _finished(command_line)
    assert 0 < len(before) < 100
    document = _document(command_line)
    assert document["status"] == "cancelled"
    assert document["counts"]["scored"] == len(before)

    resumed = command_line("resume", document["run"], "--json")
    assert resumed.code == 0, resumed.stderr
    assert resumed.document["run"] == document["run"]
    assert resumed.document["counts"]["scored"] == 100
    after = _finished(command_line)
    assert len(after) == 100
    assert {cid: after[cid] for cid in before} == before, "a finished rollout was run again"


def test_a_killed_run_keeps_what_it_had_finished(command_line: CommandLine) -> None:
    process = command_line.start(*MANY)
    _await_rollouts(process)
    process.kill()
    process.communicate(timeout=PATIENCE)
    before = _finished(command_line)
    run = _only_run(command_line)
    resumed = command_line("resume", run, "--json")
    assert resumed.code == 0, resumed.stderr
    assert resumed.document["counts"]["scored"] == 100
    after = _finished(command_line)
    assert {cid: after[cid] for cid in before} == before
    assert command_line.sandboxes() == [], "the next run clears away what a killed one has left"


def test_a_run_that_still_goes_on_is_left_alone(command_line: CommandLine) -> None:
    process = command_line.start(
        "run", "--benchmark", "hello-world", "--agent", "command", "--agent-command", "sleep 900"
    )
    _await(process, "1 rollouts of hello-world")
    resumed = command_line("resume", _only_run(command_line))
    assert process.poll() is None
    assert (resumed.code, "still goes on" in resumed.stderr) == (1, True), resumed.stderr
    assert "Traceback" not in resumed.stderr
    assert not list((command_line.cwd / "results").glob("*/result.json")), "it wrote what is the other one's to write"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    assert _document(command_line)["status"] == "cancelled"


def test_resuming_a_finished_run_is_harmless(command_line: CommandLine) -> None:
    first = command_line("run", "--benchmark", "hello-world", "--agent", "gold", "--json")
    again = command_line("resume", first.document["run"][:18], "--json")
    assert again.code == 0, again.stderr
    assert "1 of them scored already" in again.stderr
    for name in ("run", "mean_reward", "rollouts", "versions", "started_at"):
        assert again.document[name] == first.document[name]


def test_an_unknown_run_is_named(command_line: CommandLine) -> None:
    resumed = command_line("resume", "nobody")
    assert resumed.code == 1
    assert "no run 'nobody'" in resumed.stderr


@pytest.mark.slow
@pytest.mark.parametrize("sandboxes", ["1", "2"])
def test_a_lane_that_loses_its_sandbox_goes_on(command_line: CommandLine, sandboxes: str) -> None:
    process = command_line.start(*MANY, "--sandboxes", sandboxes, "--json")
    _await_rollouts(process)
    victim = next(child for child in psutil.Process(process.pid).children() if "task_app" in child.cmdline())
    victim.kill()
    stdout, stderr = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, stderr
    document = json.loads(stdout)
    assert (document["status"], document["counts"]["scored"]) == ("completed", 100)
    assert "lost its sandbox" in stderr
    assert "will start" not in stderr, "the eval was tried again in a sandbox that is gone"
    assert command_line.sandboxes() == []


def _await_rollouts(process: "subprocess.Popen[str]") -> None:
    _await(process, "of 100 rollouts, mean")


def _await(process: "subprocess.Popen[str]", said: str) -> None:
    assert process.stderr
    for line in process.stderr:
        if said in line:
            return
    raise AssertionError(f"The run ended before it said {said!r}.")


def _finished(command_line: CommandLine) -> dict[str, Any]:
    """When each scored rollout was finished, by correlation id."""
    with sqlite3.connect(_database(command_line)) as connection:
        return dict(connection.execute("SELECT correlation_id, finished_at FROM rollouts WHERE scored"))


def _only_run(command_line: CommandLine) -> str:
    with sqlite3.connect(_database(command_line)) as connection:
        return str(connection.execute("SELECT name FROM runs").fetchone()[0])


def _database(command_line: CommandLine) -> Path:
    return command_line.cwd / "results/rollouts.db"


def _document(command_line: CommandLine) -> dict[str, Any]:
    return json.loads(next((command_line.cwd / "results").glob("*/result.json")).read_text())  # type: ignore[no-any-return]


@pytest.mark.slow
def test_a_run_that_is_interrupted_twice_is_completed(command_line: CommandLine) -> None:
    process = command_line.start(*MANY)
    _await_rollouts(process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE)
    once, run = _finished(command_line), _only_run(command_line)
    again = command_line.start("resume", run)
    _await_rollouts(again)
    again.kill()
    again.communicate(timeout=PATIENCE)
    twice = _finished(command_line)
    assert len(once) < len(twice) < 100
    resumed = command_line("resume", run, "--json")
    assert resumed.code == 0, resumed.stderr
    after = _finished(command_line)
    assert (len(after), resumed.document["counts"]["scored"]) == (100, 100)
    assert {cid: after[cid] for cid in twice} == twice, "a finished rollout was run again"


def test_scores_of_two_versions_of_a_benchmark_are_not_mixed(command_line: CommandLine) -> None:
    folder = command_line.cwd / "clone"
    shutil.copytree(ROOT / "benchmarks/hello-world", folder)
    asked = ("run", "--benchmark", "engine-bench", "--agent", "gold", "--json")
    first = command_line(*asked, ENGINE_BENCH_DIR=str(folder)).document
    (folder / "workspace/README.md").write_text("Write something else.")
    resumed = command_line("resume", first["run"], ENGINE_BENCH_DIR=str(folder))
    assert resumed.code == 1
    assert f"has changed since run {first['run']} began" in resumed.stderr
    rescored = command_line("resume", first["run"], "--rescore", "--json", ENGINE_BENCH_DIR=str(folder))
    assert (rescored.code, rescored.document["rescored"]["run"]) == (0, first["run"]), rescored.stderr
