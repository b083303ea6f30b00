"""Load: many lanes on the Daytona emulator, against what they would take if nothing but the work took time.

Ideal is what the lanes need for their rollouts alone, and once what one lane takes around it. Rollouts are attempts at
the one instance of hello-world. So that all of it ends within some 15 minutes, few lanes get fewer rollouts: 30 for
each lane, up to the 500 of 16 and 64 lanes. What a rollout costs does not depend on how many there are; that the flow's
memory does not either is what 16 lanes show with 50 and with 500.

A sandbox in a cloud takes nothing of the machine that drives it, so those here are hollow: what is measured is the
flow, the Daytona SDK and the Prefect server. The CPU columns say what each of them takes, and the emulator.

    python -m tests.bench load
    LOAD_POSTGRES=postgresql+asyncpg://user:password@host/prefect python -m tests.bench load    # the server's database
"""

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.table import Table

from tests.faults.services import Cloud, PrefectServer, cloud, prefect_server

MOST_ROLLOUTS = 500
PLANS = ((1, 30), (4, 120), (16, MOST_ROLLOUTS), (64, MOST_ROLLOUTS), (16, 50))
"""Lanes and rollouts."""
BOOT = 2
"""Seconds until a sandbox is there."""
ROLLOUT = 5
"""Seconds that the agent sleeps."""
ENGINE_BENCH = str(Path(sys.executable).with_name("engine-bench"))


class Cpu:
    """CPU seconds of some processes and all that they start, as far as they were seen."""

    def __init__(self, root: int, but: Sequence[int] = ()) -> None:
        self._root, self._but = root, frozenset(but)
        self._seen: dict[tuple[int, float], float] = {}
        self._before: float | None = None

    def look(self) -> None:
        for process in self._family():
            try:
                times = process.cpu_times()
                self._seen[process.pid, process.create_time()] = times.user + times.system
            except psutil.Error:
                continue
        if self._before is None:
            self._before = self.seconds

    def since_begin(self) -> float:
        return self.seconds - (self._before or 0)

    @property
    def seconds(self) -> float:
        return sum(self._seen.values())

    def _family(self) -> Iterator[psutil.Process]:
        try:
            root = psutil.Process(self._root)
            yield from (process for process in (root, *root.children(recursive=True)) if process.pid not in self._but)
        except psutil.Error:
            return


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
    flow_cpu: float
    server_cpu: float
    emulator_cpu: float
    """Seconds."""

    @property
    def work(self) -> float:
        """Seconds that the lane with the most rollouts needs for them alone."""
        return -(-self.rollouts // self.lanes) * ROLLOUT


async def measure() -> Table:
    """Wall time against ideal (a lane's own work, and once what one lane takes around it), memory, API calls, CPU."""
    return await asyncio.to_thread(_measure)


def _measure() -> Table:
    database = os.environ.get("LOAD_POSTGRES", "")
    columns = ("lanes", "rollouts", "wall s", "ideal s", "ideal/wall", "flow MiB", "API calls a rollout")
    table = Table(
        *(*columns, "CPU s: flow", "Prefect server", "emulator", "of the cores"),
        title=f"Load, emulated Daytona: {BOOT} s boots, {ROLLOUT} s rollouts, "
        f"Prefect on {'PostgreSQL' if database else 'SQLite'}",
    )
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(prefect_server(home / "prefect", database))
        emulator = stack.enter_context(cloud("--isolation=hollow", f"--boot-seconds={BOOT}", "--total-cpu=1000"))
        _run(1, 1, home, server, emulator)  # builds the snapshot
        chain = 0.0
        for lanes, rollouts in PLANS:
            run = _run(lanes, rollouts, home, server, emulator)
            chain = chain or run.wall - run.work
            table.add_row(*_cells(run, chain))
    return table


def _cells(run: _Run, chain: float) -> list[str]:
    ideal = run.work + chain
    cpu = (run.flow_cpu, run.server_cpu, run.emulator_cpu)
    return [
        str(run.lanes),
        str(run.rollouts),
        f"{run.wall:.1f}",
        f"{ideal:.1f}",
        f"{ideal / run.wall:.2f}",
        f"{run.memory / 2**20:.0f}",
        f"{run.calls / run.rollouts:.1f}",
        *(f"{seconds:.0f}" for seconds in cpu),
        f"{sum(cpu) / run.wall / (psutil.cpu_count() or 1):.0%}",
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
    # files: what nobody reads meanwhile would fill a pipe, and the command would wait
    log, document = home / f"lanes-{lanes}.log", home / f"lanes-{lanes}.json"
    others = Cpu(server.pid), Cpu(emulator.pid)
    for each in others:
        each.look()
    started, peak = time.perf_counter(), 0
    with log.open("w") as said, document.open("w") as output:
        process = subprocess.Popen(
            [ENGINE_BENCH, "run", "--daytona", *what, *how, "--json"],
            env=environment,
            stdout=output,
            stderr=said,
        )
        own = Cpu(process.pid)
        while process.poll() is None:
            peak = max(peak, _resident(process.pid))
            for each in (own, *others):
                each.look()
            time.sleep(0.5)
    wall = time.perf_counter() - started
    if process.returncode != 0 or json.loads(document.read_text())["counts"]["scored"] != rollouts:
        sys.exit(f"The run on {lanes} lanes failed:\n{log.read_text()}")
    calls = len(re.findall(rf"HTTP Request: \w+ {re.escape(server.url)}", log.read_text()))
    return _Run(lanes, rollouts, wall, peak, calls, own.seconds, *(each.since_begin() for each in others))


def _resident(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0
