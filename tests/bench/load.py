"""Load: many lanes on the Daytona emulator, against what they would take if nothing but the work took time.

All sandboxes are processes of this machine, so it bounds how many lanes can be measured: each has a task app to start.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.table import Table

from tests.faults.scene import Cloud, PrefectServer, cloud, prefect_server

LANES = (1, 4, 16, 64)
LANES_PER_CORE = 8
BOOT = 2
"""Seconds until a sandbox is there."""
ROLLOUT = 5
"""Seconds that the agent sleeps."""
ROLLOUTS_PER_LANE = 6
MOST_ROLLOUTS = 100
"""Attempts that a run may have at the one instance of hello-world."""
ENGINE_BENCH = str(Path(sys.executable).with_name("engine-bench"))


@dataclass(frozen=True)
class _Run:
    lanes: int
    rollouts: int
    wall: float
    """Seconds from command to exit."""
    memory: int
    """Peak resident bytes of the flow process."""
    calls: int
    """Requests to the Prefect API. Events, by which the server learns of task runs, go through a socket."""

    @property
    def work(self) -> float:
        """Seconds that the lane with the most rollouts needs for them alone."""
        return -(-self.rollouts // self.lanes) * ROLLOUT


async def measure() -> Table:
    """Wall time against ideal (a lane's own work, and once what one lane takes around it), memory, API calls."""
    return await asyncio.to_thread(_measure)


def _measure() -> Table:
    cores = psutil.cpu_count() or 1
    table = Table(
        *("lanes", "rollouts", "wall s", "ideal s", "ideal/wall", "flow process MiB", "API calls a rollout"),
        title=f"Load, emulated Daytona: {BOOT} s boots, {ROLLOUT} s rollouts, Prefect on SQLite",
    )
    with (
        tempfile.TemporaryDirectory() as home,
        prefect_server(Path(home, "prefect")) as server,
        cloud(f"--boot-seconds={BOOT}", "--total-cpu=1000") as emulator,
    ):
        if emulator.isolation == "none":
            sys.exit(f"Sandboxes can't run commands on this machine: {'; '.join(emulator.limits)}")
        _run(1, 1, Path(home), server, emulator)  # builds the snapshot
        chain = 0.0
        for lanes in LANES:
            rollouts = min(MOST_ROLLOUTS, ROLLOUTS_PER_LANE * lanes)
            if lanes > LANES_PER_CORE * cores:
                table.add_row(str(lanes), f"not tried: {cores} cores would be measured, not lanes", *[""] * 5)
                continue
            run = _run(lanes, rollouts, Path(home), server, emulator)
            chain = chain or run.wall - run.work
            table.add_row(*_cells(run, chain))
    return table


def _cells(run: _Run, chain: float) -> list[str]:
    ideal = run.work + chain
    return [
        str(run.lanes),
        str(run.rollouts),
        f"{run.wall:.1f}",
        f"{ideal:.1f}",
        f"{ideal / run.wall:.2f}",
        f"{run.memory / 2**20:.0f}",
        f"{run.calls / run.rollouts:.1f}",
    ]


def _run(lanes: int, rollouts: int, home: Path, server: PrefectServer, emulator: Cloud) -> _Run:
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ} | {
        "ENGINE_BENCH_DATA_DIR": f"{home}/data",
        "ENGINE_BENCH_RESULTS_DIR": f"{home}/results",
        "DAYTONA_API_KEY": emulator.api_key,
        "DAYTONA_API_URL": emulator.api_url,
        "PREFECT_API_URL": server.url,
        # httpx says each request at this level
        "PREFECT_LOGGING_ROOT_LEVEL": "INFO",
    }
    what = ["--benchmark", "hello-world", "--attempts", str(rollouts), "--agent", "command"]
    how = ["--agent-command", f"sleep {ROLLOUT}", "--sandboxes", str(lanes), "--concurrency", "1", "--cpu", "1"]
    log = home / f"lanes-{lanes}.log"
    started, peak = time.perf_counter(), 0
    with log.open("w") as said:
        process = subprocess.Popen(
            [ENGINE_BENCH, "run", "--daytona", *what, *how, "--json"],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
        while process.poll() is None:
            peak = max(peak, _resident(process.pid))
            time.sleep(0.1)
    wall = time.perf_counter() - started
    output, _ = process.communicate()
    if process.returncode != 0 or json.loads(output)["counts"]["scored"] != rollouts:
        sys.exit(f"The run on {lanes} lanes failed:\n{log.read_text()}")
    calls = len(re.findall(rf"HTTP Request: \w+ {re.escape(server.url)}", log.read_text()))
    return _Run(lanes, rollouts, wall, peak, calls)


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
