"""Runs the benchmarks named on the command line, or all, and prints a table each."""

import asyncio
import platform
import sys

import psutil
from rich.console import Console

from tests.bench import agents, daytona, grading, load, orchestration, scale, service

BENCHMARKS = {
    "grading": grading.measure,
    "orchestration": orchestration.measure,
    "daytona": daytona.measure,
    "agents": agents.measure,
    "scale": scale.measure,
    "load": load.measure,
    "service": service.measure,
}


def main() -> None:
    console = Console()
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = set(names) - BENCHMARKS.keys()
    if unknown:
        sys.exit(f"No benchmark {', '.join(sorted(unknown))}. Benchmarks: {', '.join(BENCHMARKS)}")
    memory = psutil.virtual_memory().total >> 30
    console.print(f"{psutil.cpu_count()} cores, {memory} GiB, Python {platform.python_version()}, {platform.machine()}")
    for name in names:
        console.print(asyncio.run(BENCHMARKS[name]()))


main()
