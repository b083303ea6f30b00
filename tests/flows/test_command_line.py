"""The command line, run as a process against a real Prefect server."""

import json
import signal
import subprocess
from pathlib import Path

import httpx
import psutil
import pytest

from core.settings import Settings
from flows.result import ResultDocument
from flows.server import ServerRecord
from tests import synthetic
from tests.flows.conftest import CommandLine

STEPS = ["provision", "upload", "install", "start", "health", "eval", "cleanup"]
HELLO = ("run", "--benchmark", "hello-world", "--agent", "gold")
HELLO_NOOP = (*HELLO[:-1], "noop")


def test_a_run_scores_and_leaves_its_results(command_line: CommandLine) -> None:
    run = command_line(*HELLO)
    assert run.code == 0, run.stderr
    assert "mean reward 1.000, solved 1 of 1" in run.stdout
    documents = list((command_line.cwd / "results").glob("*/result.json"))
    assert len(documents) == 1
    document = ResultDocument.model_validate_json(documents[0].read_text())
    assert (document.status, document.mean_reward, document.counts.solved) == ("completed", 1.0, 1)
    for artifact in document.rollouts[0].artifacts:
        assert (documents[0].parent / artifact).is_file()
    assert command_line.sandboxes() == []


def test_json_prints_the_document_and_nothing_else(command_line: CommandLine) -> None:
    run = command_line(*HELLO, "--json")
    assert ResultDocument.model_validate(run.document).mean_reward == 1.0
    on_disk = next((command_line.cwd / "results").glob("*/result.json"))
    assert json.loads(on_disk.read_text()) == run.document


def test_each_step_shows_in_the_prefect_ui(command_line: CommandLine, prefect_api: httpx.Client) -> None:
    run = command_line(*HELLO, "--attempts", "2", "--sandboxes", "2", "--json")
    assert run.code == 0, run.stderr
    found = prefect_api.post(
        "task_runs/filter",
        json={"task_runs": {"flow_run_id": {"any_": [run.document["flow_run_id"]]}}, "sort": "EXPECTED_START_TIME_ASC"},
    ).json()
    names = [f"{step} · lane {lane}" for step in STEPS for lane in (1, 2)]
    assert sorted(task["name"] for task in found) == sorted(names)
    assert {task["state_type"] for task in found} == {"COMPLETED"}


def test_a_low_score_is_no_failure_unless_a_minimum_is_asked_for(command_line: CommandLine) -> None:
    assert command_line(*HELLO_NOOP).code == 0
    below = command_line(*HELLO_NOOP, "--min-reward", "0.5")
    assert below.code == 3
    assert "below the minimum of 0.5" in below.stderr
    assert command_line(*HELLO, "--min-reward", "1.0").code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--local", "--daytona"), "exclude each other"),
        (("run", "--agent", "nobody"), "nobody"),
        (("run", "--seeds", "-1"), "seeds"),
        (("run", "--nonsense"), "nonsense"),
    ],
)
def test_wrong_usage_is_told_before_anything_runs(
    command_line: CommandLine, arguments: tuple[str, ...], said: str
) -> None:
    run = command_line(*arguments)
    assert run.code == 2
    assert said in run.stderr
    assert "Traceback" not in run.stderr
    assert not (command_line.cwd / "results").exists()


def test_a_broken_clone_is_told_in_one_message_before_a_server_is_started(tmp_path: Path) -> None:
    synthetic.write_harbor(tmp_path / "clone", instances=2, lines=100)
    broken = tmp_path / "clone/tasks/df-001-specimen/task.toml"
    broken.write_text("[agent")
    command_line = CommandLine(tmp_path, Settings(data_dir=tmp_path / "data"))
    run = command_line(
        "run", "--benchmark", "engine-bench", "--agent", "gold", ENGINE_BENCH_DIR=str(tmp_path / "clone")
    )
    assert run.code == 1
    (line,) = run.stderr.splitlines()
    assert line.startswith(f"Error: {broken} is no TOML")
    assert not (tmp_path / "data").exists(), "a server was started"


def test_missing_cargo_is_one_clear_line_and_is_not_retried(
    command_line: CommandLine, prefect_api: httpx.Client
) -> None:
    run = command_line("run", "--benchmark", "sample", "--agent", "gold", "--json", PATH=str(command_line.cwd))
    assert run.code == 1
    assert "rustup.rs" in run.stderr
    assert "--benchmark hello-world" in run.stderr
    assert "Traceback" not in run.stderr
    found = prefect_api.post(
        "task_runs/filter", json={"task_runs": {"flow_run_id": {"any_": [run.document["flow_run_id"]]}}}
    ).json()
    states = {task["name"]: (task["state_type"], task["run_count"]) for task in found}
    assert states["install · lane 1"] == ("FAILED", 1)
    assert states["cleanup · lane 1"] == ("COMPLETED", 1)
    assert run.document["status"] == "failed"
    assert run.document["mean_reward"] is None
    assert command_line.sandboxes() == []


def test_an_unreachable_prefect_api_is_named(command_line: CommandLine) -> None:
    run = command_line(*HELLO, PREFECT_API_URL="http://127.0.0.1:9/api")
    assert run.code == 1
    assert "http://127.0.0.1:9/api can't be reached" in run.stderr
    assert "unset PREFECT_API_URL" in run.stderr
    assert "Traceback" not in run.stderr


def test_what_is_not_a_prefect_api_is_named(command_line: CommandLine, prefect_api: httpx.Client) -> None:
    wrong = str(prefect_api.base_url) + "nowhere"
    run = command_line(*HELLO, PREFECT_API_URL=wrong)
    assert run.code == 1
    assert "must name a Prefect API" in run.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("step", ["provision", "start", "health"])
def test_a_signal_cleans_up_and_keeps_the_document(
    command_line: CommandLine, number: signal.Signals, code: int, step: str
) -> None:
    process = command_line.start(*HELLO, "--attempts", "100", "--concurrency", "1")
    _await_line(process, f"{step} · lane 1")
    process.send_signal(number)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert "Traceback" not in stderr
    assert command_line.sandboxes() == []
    assert _processes_under(command_line.cache) == []
    document = json.loads(next((command_line.cwd / "results").glob("*/result.json")).read_text())
    assert document["status"] == "cancelled"


def test_lists_are_there_without_prefect(command_line: CommandLine) -> None:
    listed = command_line("list", PREFECT_API_URL="http://127.0.0.1:9/api")
    assert listed.code == 0
    assert {"sample", "hello-world", "gold", "noop"} <= set(listed.stdout.split())
    instances = command_line("list", "--benchmark", "sample")
    assert instances.code == 0
    assert len([line for line in instances.stdout.splitlines() if "-00" in line]) >= 9


def test_an_unknown_benchmark_is_named(command_line: CommandLine) -> None:
    listed = command_line("list", "--benchmark", "nowhere")
    assert listed.code == 1
    assert "hello-world" in listed.stderr


def test_the_doctor_tells_what_is_missing(command_line: CommandLine) -> None:
    healthy = command_line("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(healthy.stdout)}
    assert checks["Python"]["status"] == "ok"
    assert checks["Prefect API"]["status"] == "ok"
    sick = command_line("doctor", PATH=str(command_line.cwd))
    assert sick.code == 1
    assert "rustup.rs" in sick.stdout


def test_the_doctor_knows_a_configured_server_and_one_that_is_gone(
    command_line: CommandLine, server: ServerRecord
) -> None:
    def prefect_api(url: str) -> dict[str, str]:
        checks = json.loads(command_line("doctor", "--json", PREFECT_API_URL=url).stdout)
        return next(check for check in checks if check["name"] == "Prefect API")

    assert prefect_api(server.api_url)["status"] == "ok"
    gone = prefect_api("http://127.0.0.1:9/api")
    assert gone["status"] == "missing"
    assert "unset PREFECT_API_URL" in gone["fix"]


def test_the_server_is_found_again(command_line: CommandLine) -> None:
    status = command_line("server", "status")
    assert status.code == 0
    assert "running at http://127.0.0.1:" in status.stdout


def _await_line(process: "subprocess.Popen[str]", text: str) -> None:
    assert process.stderr
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"The run ended without saying {text!r}.")


def _processes_under(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cwd"]):
        cwd = process.info["cwd"]
        if cwd and Path(cwd).is_relative_to(folder):
            found.append(process)
    return found
