"""Scale: a benchmark of EngineBench's size in each layout, all its reference solutions, in one local sandbox."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from pydantic import SecretStr
from rich.table import Table

from core.settings import Settings
from flows.plan import ROOT
from sandboxes import bundle
from sandboxes.base import SandboxSpec
from sandboxes.local import LocalBackend
from tests import synthetic
from tests.task_app.grading_fixtures import open_directory

INSTANCES = 150
LINES = 20_000
SLOTS = 2
KEY, NONCE = "the-key", "the-nonce"


@dataclass
class Measured:
    """Of one sandbox, from provisioning to the last rollout."""

    ready: float = 0.0
    """Seconds until it could begin its first rollout."""
    first: float = 0.0
    """Seconds until that had its reward."""
    total: float = 0.0
    """Seconds until all had."""
    disk_early: int = 0
    """Bytes on disk once a tenth of the rollouts was done: sandbox and build cache together."""
    disk: int = 0
    """The most there ever were."""
    memory: int = 0
    """Most bytes of resident memory of the task app and all its processes, together."""


async def measure() -> Table:
    table = Table(
        "layout", "run", "s to ready", "s to first reward", "minutes", "MiB disk, early", "MiB disk", "MiB memory",
        title=f"{INSTANCES} gold rollouts, a crate of {LINES} lines, {SLOTS} slots",
    )  # fmt: skip
    for layout in ("classic", "harbor"):
        with open_directory() as folder:
            settings = Settings(cache_dir=folder / "cache", data_dir=folder / "data")
            for run, rollouts in (("first", INSTANCES), ("second", 2 * SLOTS)):
                measured = await run_once(layout, settings, instances=INSTANCES, lines=LINES, rollouts=rollouts)
                table.add_row(
                    layout,
                    run,
                    *(f"{seconds:.1f}" for seconds in (measured.ready, measured.first)),
                    f"{measured.total / 60:.1f}" if rollouts == INSTANCES else f"({rollouts} rollouts)",
                    *(str(size >> 20) for size in (measured.disk_early, measured.disk, measured.memory)),
                )
    return table


async def run_once(layout: str, settings: Settings, *, instances: int, lines: int, rollouts: int) -> Measured:
    """Perform the first so many rollouts of agent gold, each of which has to earn 1."""
    folder = settings.cache_dir.parent / layout
    if not folder.is_dir():
        await asyncio.to_thread({"classic": synthetic.write_classic, "harbor": synthetic.write_harbor}[layout],
                                folder, instances, lines)  # fmt: skip
    measured, begun = Measured(), time.monotonic()
    async with _task_app(folder, settings) as url, httpx.AsyncClient(
        base_url=url, headers={"X-API-Key": KEY}, timeout=600, trust_env=False
    ) as client:  # fmt: skip
        measured.ready = time.monotonic() - begun
        watching = asyncio.create_task(_watch(settings, url, measured))
        slots = asyncio.Semaphore(SLOTS)
        done = 0

        async def perform(seed: int) -> None:
            nonlocal done
            async with slots:
                body = {
                    "trace_correlation_id": f"gold-{seed}",
                    "env": {"seed": seed},
                    "policy": {"config": {"agent": "gold"}},
                }
                reply = (await client.post("/rollout", json=body)).json()
            assert reply["reward_info"]["outcome_reward"] == 1.0, reply
            done += 1
            measured.first = measured.first or time.monotonic() - begun
            if done == max(1, rollouts // 10):
                measured.disk_early = await asyncio.to_thread(_disk, settings.cache_dir)

        await asyncio.gather(*(perform(seed) for seed in range(rollouts)))
        measured.total = time.monotonic() - begun
        watching.cancel()
        await asyncio.wait({watching})
    return measured


@contextlib.asynccontextmanager
async def _task_app(folder: Path, settings: Settings) -> AsyncIterator[str]:
    """The address of a task app that is ready, in a sandbox of the local backend."""
    backend = LocalBackend(settings)
    spec = SandboxSpec(name="eb-scale-1", run_id="scale", lane=0)
    packed = await asyncio.to_thread(bundle.build, {"task_app": ROOT / "task_app", "benchmark": folder})
    environment = {
        "ENVIRONMENT_API_KEY": KEY,
        "ENGINE_BENCH_NONCE": NONCE,
        "ENGINE_BENCH_SLOTS": str(SLOTS),
        "ENGINE_BENCH_SEAL": "1",
        "ENGINE_BENCH_BUILD_CACHE": str(settings.builds_dir),
    }
    try:
        sandbox = await backend.provision(spec)
        await backend.upload(sandbox, packed)
        await backend.install(sandbox, ("cargo",))
        sandbox = await backend.start(sandbox, {name: SecretStr(value) for name, value in environment.items()})
        await backend.health(sandbox, NONCE, timeout=600)
        yield (await backend.endpoint(sandbox)).url
    finally:
        await backend.cleanup(spec)


async def _watch(settings: Settings, url: str, measured: Measured) -> None:
    """Look at disk and memory, as often as that costs next to nothing."""
    server = _listener(int(url.rpartition(":")[2]))
    while True:
        disk, memory = await asyncio.to_thread(lambda: (_disk(settings.cache_dir), _memory(server)))
        measured.disk, measured.memory = max(measured.disk, disk), max(measured.memory, memory)
        await asyncio.sleep(0.5)


def _listener(port: int) -> psutil.Process:
    connections = psutil.net_connections("tcp")
    return psutil.Process(
        next(each.pid for each in connections if each.laddr and each.laddr.port == port and each.status == "LISTEN")
    )


def _memory(server: psutil.Process) -> int:
    return sum(_resident([server, *server.children(recursive=True)]))


def _resident(processes: Iterable[psutil.Process]) -> Iterable[int]:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            yield process.memory_info().rss


def _disk(folder: Path) -> int:
    total = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(FileNotFoundError):  # it is gone already
                total += (Path(parent) / name).lstat().st_blocks * 512
    return total
