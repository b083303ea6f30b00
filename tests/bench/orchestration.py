"""Orchestration: what a run costs whose rollouts take no time, and what its processes weigh."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import httpx
import psutil
from rich.table import Table

ENGINE_BENCH = str(Path(sys.executable).with_name("engine-bench"))
ROUNDS = 5
STEPS = ("provision", "upload", "install", "start", "health", "eval", "cleanup")


async def measure() -> Table:
    """Wall time from command to exit of hello-world by noop, its steps, and peak memory."""
    return await asyncio.to_thread(_measure)


def _measure() -> Table:
    table = Table("what", "median", title=f"Orchestration, {ROUNDS} runs of hello-world by noop")
    with tempfile.TemporaryDirectory() as home:
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | {
            "ENGINE_BENCH_DATA_DIR": f"{home}/data",
            "ENGINE_BENCH_CACHE_DIR": f"{home}/cache",
            "ENGINE_BENCH_RESULTS_DIR": f"{home}/results",
        }
        try:
            fresh = _run(environment)
            _engine_bench(environment, "server", "stop")
            restarted = _run(environment)
            runs = [_run(environment) for _ in range(ROUNDS)]
            api = json.loads(Path(f"{home}/data/prefect/server.json").read_text())
            steps = [_steps(f"http://127.0.0.1:{api['port']}/api", run.flow_run) for run in runs]
        finally:
            _engine_bench(environment, "server", "stop")
    table.add_row("command to exit, server to be started for the first time", f"{fresh.seconds:.1f} s")
    table.add_row("command to exit, server to be started", f"{restarted.seconds:.1f} s")
    table.add_row("command to exit, server running", f"{median(run.seconds for run in runs):.2f} s")
    for step in STEPS:
        table.add_row(f"step {step}", f"{median(each[step] for each in steps) * 1000:.0f} ms")
    overhead = median(
        sum(each[step] for step in STEPS if step not in ("start", "health", "eval")) / 4 for each in steps
    )
    table.add_row("a step that does next to nothing (mean of four)", f"{overhead * 1000:.0f} ms")
    for process in ("flow process", "task app"):
        table.add_row(
            f"peak memory, {process}", f"{median(run.memory.get(process, 0) for run in runs) / 2**20:.0f} MiB"
        )
    return table


class _Run:
    def __init__(self, seconds: float, flow_run: str, memory: dict[str, int]) -> None:
        self.seconds = seconds
        self.flow_run = flow_run
        self.memory = memory
        """Peak resident bytes."""


def _run(environment: dict[str, str]) -> _Run:
    started = time.perf_counter()
    command = [ENGINE_BENCH, "run", "--benchmark", "hello-world", "--agent", "noop", "--json"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        peaks: dict[str, int] = {}
        while process.poll() is None:
            for name, resident in _resident(process.pid):
                peaks[name] = max(peaks.get(name, 0), resident)
            time.sleep(0.02)
        seconds = time.perf_counter() - started
        output, errors = process.communicate()
    if process.returncode != 0:
        sys.exit(f"The run failed:\n{errors.decode()}")
    return _Run(seconds, json.loads(output)["flow_run_id"], peaks)


def _resident(pid: int) -> Iterator[tuple[str, int]]:
    try:
        flow = psutil.Process(pid)
        yield "flow process", flow.memory_info().rss
        for child in flow.children(recursive=True):
            if "task_app" in child.cmdline():
                yield "task app", child.memory_info().rss
    except psutil.NoSuchProcess:
        return


def _steps(api: str, flow_run: str) -> dict[str, float]:
    """Seconds by step."""
    wanted = {"task_runs": {"flow_run_id": {"any_": [flow_run]}}}
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = httpx.post(f"{api}/task_runs/filter", json=wanted, timeout=30).json()
        # the server records task runs from events, a moment after they happened
        if len(found) == len(STEPS) and all(task["state_type"] == "COMPLETED" for task in found):
            return {task["name"].partition(" ")[0]: task["total_run_time"] for task in found}
        time.sleep(0.2)
    sys.exit(f"The Prefect server shows {len(found)} of {len(STEPS)} steps of run {flow_run}.")


def _engine_bench(environment: dict[str, str], *arguments: str) -> None:
    subprocess.run([ENGINE_BENCH, *arguments], env=environment, check=True, capture_output=True)
