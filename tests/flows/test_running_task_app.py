"""`--task-app-url`: a task app that somebody else runs is used as it is, and left alone."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from flows.benchmarks import BUNDLED
from flows.plan import ROOT
from tests.flows.conftest import CommandLine

KEY = "key-of-a-task-app"


@pytest.fixture
def task_app(tmp_path: Path) -> Iterator[str]:
    home = tmp_path / "task-app"
    shutil.copytree(ROOT / "task_app", home / "task_app")
    shutil.copytree(BUNDLED / "hello-world", home / "benchmark")
    variables = home / "task_app.env"
    variables.touch(mode=0o600)
    variables.write_text(
        f"ENVIRONMENT_API_KEY={KEY}\nENGINE_BENCH_NONCE=theirs\nENGINE_BENCH_BENCHMARK_NAME=hello-world\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        descriptor = listener.fileno()
        os.set_inheritable(descriptor, True)
        process = subprocess.Popen(
            [sys.executable, "-m", "task_app", "--fd", str(descriptor), "--env-file", str(variables)],
            cwd=home,
            pass_fds=[descriptor],
        )
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        process.terminate()
        process.wait(timeout=30)


def test_it_is_used_and_left_running(command_line: CommandLine, task_app: str) -> None:
    run = command_line(
        "run",
        "--benchmark",
        "hello-world",
        "--agent",
        "gold",
        "--task-app-url",
        task_app,
        "--json",
        ENVIRONMENT_API_KEY=KEY,
    )
    assert run.code == 0, run.stderr
    assert run.document["mean_reward"] == 1.0
    assert httpx.get(f"{task_app}/health").json()["nonce"] == "theirs"
    assert KEY not in run.stdout + run.stderr


@pytest.mark.parametrize(
    ("environment", "benchmark", "said"),
    [
        ({}, "hello-world", "ENVIRONMENT_API_KEY is not set"),
        ({"ENVIRONMENT_API_KEY": "wrong"}, "hello-world", "refuses the key"),
        ({"ENVIRONMENT_API_KEY": KEY}, "sample", "holds the benchmark 'hello-world', not 'sample'"),
    ],
)
def test_what_does_not_fit_is_named(
    command_line: CommandLine, task_app: str, environment: dict[str, str], benchmark: str, said: str
) -> None:
    run = command_line("run", "--benchmark", benchmark, "--agent", "gold", "--task-app-url", task_app, **environment)
    assert run.code == 1
    assert said in run.stderr


def test_an_address_where_nothing_answers_is_named(command_line: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        free = listener.getsockname()[1]
    url = f"http://127.0.0.1:{free}"
    run = command_line(
        "run", "--benchmark", "hello-world", "--agent", "gold", "--task-app-url", url, ENVIRONMENT_API_KEY=KEY
    )
    assert run.code == 1
    assert f"No task app answers at {url}" in run.stderr
