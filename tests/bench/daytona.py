"""Daytona: from the flow's start to its first rollout, from an image and from a snapshot, and its requests.

The emulator's own delays are what a run can't help: the boot, the installation, and the latency of each request that it
waits for. Requests that look again and again how things are wait for something else, so their latency is not counted.
"""

import asyncio
import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import NamedTuple

import httpx
from rich.table import Table

from tests.bench.orchestration import ENGINE_BENCH
from tests.daytona_emulator.client import Emulator, emulator
from tests.daytona_emulator.execute import environment
from tests.daytona_emulator.journal import Entry
from tests.sandboxes.daytona_harness import is_poll

LATENCY = timedelta(milliseconds=50)
BOOT_SECONDS, INSTALL_SECONDS = 2, 20
ROUNDS = 3


class Life(NamedTuple):
    """One run of one sandbox. Seconds run from the flow's start to the first rollout."""

    seconds: float
    from_command: float
    """Seconds from the command's start to the first rollout."""
    delays: float
    """Seconds of these that are the emulator's own."""
    requests: int
    """To Daytona's API and into the sandbox, over its whole life, without polls."""
    polls: int

    @property
    def overhead(self) -> float:
        """Of the delays, in percent."""
        return 100 * (self.seconds / self.delays - 1)


async def measure() -> Table:
    """Median over some runs of hello-world by noop on the emulator, the ways taking turns."""
    lives: dict[str, list[Life]] = {"none": [], "auto": []}
    with tempfile.TemporaryDirectory() as home:
        async with emulator(latency_ms=LATENCY / timedelta(milliseconds=1), boot_seconds=BOOT_SECONDS) as emu:
            await emu.fault("slow_command", match="inside.py install( |$)", seconds=INSTALL_SECONDS, times=None)
            await emu.fault("slow_build", seconds=INSTALL_SECONDS)
            variables = _environment(home, emu)
            try:
                await _live(emu, variables, "auto")  # builds the snapshot, which happens once
                for _ in range(ROUNDS):
                    for snapshot, found in lives.items():
                        found.append(await _live(emu, variables, snapshot))
            finally:
                await _engine_bench(variables, "server", "stop")
    return _table(lives["none"], lives["auto"])


def _table(image: Sequence[Life], snapshot: Sequence[Life]) -> Table:
    title = f"Daytona, emulated: {LATENCY.microseconds // 1000} ms a request, {BOOT_SECONDS} s boot"
    table = Table("what", "from an image", "from a snapshot", title=f"{title}, {INSTALL_SECONDS} s install")
    rows = (
        ("flow start to first rollout", "seconds", "{:.1f} s"),
        ("the emulator's own delays in it", "delays", "{:.1f} s"),
        ("overhead over these", "overhead", "{:.0f}%"),
        ("command to first rollout", "from_command", "{:.1f} s"),
        ("API requests of a sandbox's life", "requests", "{:.0f}"),
        ("and polls", "polls", "{:.0f}"),
    )
    for name, field, form in rows:
        table.add_row(name, *(form.format(median(getattr(life, field) for life in each)) for each in (image, snapshot)))
    factor = median(life.seconds for life in image) / median(life.seconds for life in snapshot)
    table.add_row("a snapshot is faster by", "", f"{factor:.1f} x")
    return table


async def _live(emu: Emulator, variables: dict[str, str], snapshot: str) -> Life:
    before, commanded = len(await emu.journal()), datetime.now().astimezone()
    arguments = ("run", "--daytona", "--benchmark", "hello-world", "--agent", "noop", "--snapshot", snapshot, "--json")
    document = json.loads(await _engine_bench(variables, *arguments))
    journal = (await emu.journal())[before:]
    begun = await _start_of(variables, document["flow_run_id"])
    number, rollout = next((at, entry) for at, entry in enumerate(journal) if entry.path == "/rollout")
    first = datetime.fromisoformat(rollout.at)
    # What belongs to the run's snapshot is no part of the sandbox's life.
    life = [entry for entry in journal if entry.plane != "preview" and not entry.path.startswith("/snapshots")]
    polls = sum(map(is_poll, life))
    installed = INSTALL_SECONDS if snapshot == "none" else 0
    return Life(
        seconds=(first - begun).total_seconds(),
        from_command=(first - commanded).total_seconds(),
        delays=BOOT_SECONDS + installed + _waited(entry for entry in journal[:number] if not _in_vain(entry)),
        requests=len(life) - polls,
        polls=polls,
    )


def _in_vain(entry: Entry) -> bool:
    """A poll that was asked again, or for the whole time."""
    return is_poll(entry) and (entry.status != 200 or entry.path.startswith("/sandbox"))


def _waited(entries: Iterable[Entry]) -> float:
    """Seconds of latency; of requests that go side by side once."""
    total, until = timedelta(), None
    for arrival in sorted(datetime.fromisoformat(entry.at) for entry in entries):
        total += LATENCY if until is None or arrival >= until else arrival + LATENCY - until
        until = arrival + LATENCY
    return total.total_seconds()


async def _start_of(variables: dict[str, str], flow_run: str) -> datetime:
    async with httpx.AsyncClient(base_url=_api(Path(variables["ENGINE_BENCH_DATA_DIR"])), timeout=30) as client:
        return datetime.fromisoformat((await client.get(f"/flow_runs/{flow_run}")).json()["start_time"])


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
