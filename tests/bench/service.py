"""In service: from pressing Run to the first step, and what many lanes cost the Prefect server and its UI."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil
from playwright.sync_api import Page, expect
from rich.table import Table

from tests.deployments.browser import chromium, opened, ui_url
from tests.deployments.service import Person, Server, Service, eventually, rust

ROUNDS = 5
LANES = 50
ROLLOUT = 5
"""Seconds that the agent sleeps in each lane."""
RUN_PATIENCE = 1800
"""Seconds for all lanes: each has a task app to start, on this machine."""
WINDOW = 10
"""Seconds over which the busiest time of the server is looked for."""


class _Cost(NamedTuple):
    seconds: float
    cpu: float
    """Seconds of processor time in all."""
    busiest: float
    """Share of one core over `WINDOW`."""
    before: int
    peak: int
    """Resident bytes."""


async def measure() -> Table:
    """Of `make serve` on this machine, on SQLite, with a worker of its own."""
    return await asyncio.to_thread(_measure)


def _measure() -> Table:
    table = Table("what", "", title=f"In service: make serve, and a run of {LANES} lanes on the local backend")
    with tempfile.TemporaryDirectory() as folder, _served(Path(folder)) as service:
        presses = [_press(service.server) for _ in range(ROUNDS)]
        table.add_row("from pressing Run to the first step running", f"{median(presses):.1f} s (median of {ROUNDS})")
        run, cost = _lanes(service)
        table.add_row(
            f"run of {LANES} lanes, {ROLLOUT} s a rollout, from its start to its end", f"{cost.seconds:.0f} s"
        )
        table.add_row("processor time of the server meanwhile", f"{cost.cpu:.1f} s")
        table.add_row(
            f"share of a core, mean; busiest {WINDOW} s", f"{cost.cpu / cost.seconds:.0%}; {cost.busiest:.0%}"
        )
        table.add_row("memory of the server, before; peak", f"{cost.before / 2**20:.0f}; {cost.peak / 2**20:.0f} MiB")
        program = chromium()
        if program is None:
            table.add_row("page of that run", "not measured: there is no Chromium")
            return table
        with opened(program, Path(folder) / "profile") as page:
            first, *again = [_load(page, service.server, run) for _ in range(1 + ROUNDS)]
    table.add_row("page of that run, graph and log, new browser", f"{first:.1f} s")
    table.add_row("page of that run, graph and log, again", f"{median(again):.1f} s (median of {ROUNDS})")
    return table


@contextmanager
def _served(folder: Path) -> Iterator[Service]:
    """As a person has it, who has not made the worker ask more often than it does."""
    person = Person(folder, **rust())
    del person.environment["PREFECT_WORKER_QUERY_SECONDS"]
    service = Service(person)
    try:
        yield service
    finally:
        service.stop()


def _press(server: Server) -> float:
    """Seconds until `provision` runs, by the server's clock."""
    run = server.press_run("engine-bench/local", benchmark="hello-world", agent="noop")
    assert server.ended(run)["type"] == "COMPLETED"

    def first() -> str | None:
        # the server records task runs from events, a moment after they happened
        found = server.post("task_runs/filter", flow_runs={"id": {"any_": [run]}})
        return next((task["start_time"] for task in found if task["name"].startswith("provision")), None)

    begun = eventually(first, "the first step")
    return (_time(begun) - _time(server.get(f"flow_runs/{run}")["created"])).total_seconds()


def _lanes(service: Service) -> tuple[str, _Cost]:
    """The run's id, and what it has cost the server."""
    (process,) = service.person.running("prefect", "server", "start")
    work = {"agent": "command", "agent_command": f"sleep {ROLLOUT}", "concurrency": 1}
    before, began = process.memory_info().rss, _cpu(process)
    lanes = {"benchmark": "hello-world", "attempts": LANES, "sandboxes": LANES, **work}
    run = service.server.press_run("engine-bench/local", **lanes)
    peak, samples = before, [(time.monotonic(), began)]
    while service.server.state(run)["type"] not in {"COMPLETED", "FAILED", "CRASHED"}:
        assert time.monotonic() < samples[0][0] + RUN_PATIENCE, "the lanes don't end"
        peak = max(peak, process.memory_info().rss)
        samples.append((time.monotonic(), _cpu(process)))
        time.sleep(1)
    assert service.server.state(run)["type"] == "COMPLETED", service.log.read_text()
    shown = service.server.get(f"flow_runs/{run}")
    seconds = (_time(shown["end_time"]) - _time(shown["start_time"])).total_seconds()
    return run, _Cost(seconds, _cpu(process) - began, _busiest(samples), before, peak)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _busiest(samples: list[tuple[float, float]]) -> float:
    shares = [
        (cpu - earlier_cpu) / (at - earlier)
        for earlier, earlier_cpu in samples
        for at, cpu in samples
        if at - earlier >= WINDOW
    ]
    return max(shares, default=0)


def _load(page: Page, server: Server, run: str) -> float:
    """Seconds until the page shows the run's graph and its log."""
    page.goto("about:blank")
    began = time.perf_counter()
    page.goto(f"{ui_url(server)}/runs/flow-run/{run}")
    expect(page.locator("canvas")).to_be_visible()
    expect(page.get_by_role("log")).to_contain_text(f"in {LANES} local sandboxes")
    return time.perf_counter() - began


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
