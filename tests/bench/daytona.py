"""Daytona: from the flow's start to its first rollout, from an image and from a snapshot, and its requests."""

import asyncio
import json
import os
import re
import tempfile
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from rich.table import Table

from tests.bench.orchestration import ENGINE_BENCH
from tests.daytona_emulator.client import Emulator, emulator
from tests.daytona_emulator.execute import environment

LATENCY_MS, BOOT_SECONDS = 50, 2
ROUNDS = 3
_POLLS = re.compile(r"/health$|/process/execute$|/process/session/|^/api/sandbox/[^/]+$")
"""Requests whose number depends on how long things take."""


async def measure() -> Table:
    """Median over some runs of hello-world by noop on the emulator, the ways taking turns."""
    runs: dict[str, list[tuple[float, float, int, int]]] = {"none": [], "auto": []}
    with tempfile.TemporaryDirectory() as home:
        async with emulator(latency_ms=LATENCY_MS, boot_seconds=BOOT_SECONDS) as emu:
            variables = _environment(home, emu)
            try:
                await _run(emu, variables, "auto")  # builds the snapshot, which happens once
                for _ in range(ROUNDS):
                    for snapshot, found in runs.items():
                        found.append(await _run(emu, variables, snapshot))
            finally:
                await _engine_bench(variables, "server", "stop")
    table = Table(
        "what",
        "from an image",
        "from a snapshot",
        title=f"Daytona, emulated: {LATENCY_MS} ms a request, {BOOT_SECONDS} s boot",
    )
    rows = ("flow start to first rollout, s", "delays of the emulator in it, s", "requests", "of these polls")
    for number, name in enumerate(rows):
        figures = [median(run[number] for run in runs[snapshot]) for snapshot in ("none", "auto")]
        table.add_row(name, *(f"{figure:.1f}" if number < 2 else f"{figure:.0f}" for figure in figures))
    image, snapshot = (median(run[0] for run in runs[way]) for way in ("none", "auto"))
    table.add_row("image against snapshot", f"{image / snapshot:.1f} x", "1.0 x")
    return table


async def _run(emu: Emulator, variables: dict[str, str], snapshot: str) -> tuple[float, float, int, int]:
    """Seconds to the first rollout, the emulator's delays in them, requests of the whole run, and polls among those."""
    before = len(await emu.journal())
    arguments = ("run", "--daytona", "--benchmark", "hello-world", "--agent", "noop", "--snapshot", snapshot, "--json")
    document = json.loads(await _engine_bench(variables, *arguments))
    requests = (await emu.journal())[before:]
    polls = sum(bool(_POLLS.search(request.path)) for request in requests)
    seconds = await _until_eval(variables, document["flow_run_id"])
    return seconds, BOOT_SECONDS + len(requests) * LATENCY_MS / 1000, len(requests), polls


async def _until_eval(variables: dict[str, str], flow_run: str) -> float:
    api = _api(Path(variables["ENGINE_BENCH_DATA_DIR"]))
    async with httpx.AsyncClient(base_url=api, timeout=30) as client:
        started = (await client.get(f"/flow_runs/{flow_run}")).json()["start_time"]
        while True:
            wanted = {"task_runs": {"flow_run_id": {"any_": [flow_run]}}}
            tasks: list[dict[str, Any]] = (await client.post("/task_runs/filter", json=wanted)).json()
            # the server records task runs from events, a moment after they happened
            evals = [task["start_time"] for task in tasks if task["name"].startswith("eval") and task["start_time"]]
            if evals:
                return (datetime.fromisoformat(evals[0]) - datetime.fromisoformat(started)).total_seconds()
            await asyncio.sleep(0.2)


def _api(data: Path) -> str:
    return f"http://127.0.0.1:{json.loads((data / 'prefect/server.json').read_text())['port']}/api"


async def _engine_bench(variables: dict[str, str], *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        ENGINE_BENCH, *arguments, env=variables, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    if process.returncode:
        raise SystemExit(f"engine-bench {arguments[0]} failed:\n{errors.decode()}")
    return output.decode()


def _environment(home: str, emu: Emulator) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    own = {f"ENGINE_BENCH_{name}_DIR": f"{home}/{name.lower()}" for name in ("DATA", "CACHE", "RESULTS")}
    return kept | own | environment(emu)
