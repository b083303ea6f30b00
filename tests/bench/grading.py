"""Grading: warm slots against the naive way and against a bare incremental `cargo test` by hand."""

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from rich.table import Table

from flows.benchmarks import BUNDLED
from task_app.benchmarks import ReferenceFile, Work, open_benchmark
from task_app.isolation import Isolation

SAMPLE = BUNDLED / "sample"
ROUNDS = 12
COPIES = 150
"""Of a worked card in each split, which grow the crate to about the size of EngineBench's."""


async def measure() -> Table:
    """Median seconds to grade one reference solution, each round with another instance, the ways taking turns."""
    table = Table(
        "scaffold", "way", "median s", "rollouts/min", "against warm", title=f"Grading, {ROUNDS} instances each"
    )
    for title, copies in (("sample", 0), ("sample, grown", COPIES)):
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            shutil.copytree(SAMPLE, work / "benchmark")
            lines = _grow(work / "benchmark/scaffold", copies)
            _add_rows(table, f"{title}: {lines} lines", await _times(work / "benchmark", work))
    return table


def _grow(scaffold: Path, copies: int) -> int:
    """Add copies of the worked cards under new names; returns the crate's lines."""
    for split in ("em", "sc"):
        cards = scaffold / f"src/{split}/cards"
        worked = next(cards.glob(f"{split}_001_*.rs"))
        names = [f"{split}_{900 + copy}_copy" for copy in range(copies)]
        for name in names:
            shutil.copy(worked, cards / f"{name}.rs")
        with (cards / "mod.rs").open("a") as declarations:
            declarations.writelines(f"pub mod {name};\n" for name in names)
    return sum(len(file.read_text().splitlines()) for file in scaffold.glob("src/**/*.rs"))


async def _times(folder: Path, work: Path) -> dict[str, list[float]]:
    benchmark = open_benchmark(folder)
    instances = benchmark.instances()
    await benchmark.warm(work / "warm", 1, await Isolation.detect(work))
    by_hand = _by_hand(folder, work / "by-hand")
    times: dict[str, list[float]] = {"warm": [], "by hand": [], "naive": []}
    try:
        for round_ in range(ROUNDS):
            instance = instances[round_ % len(instances)]
            reference = benchmark.reference(instance)
            assert isinstance(reference, ReferenceFile)
            started = time.perf_counter()
            grade = await benchmark.grade(instance, Work(reference.text))
            times["warm"].append(time.perf_counter() - started)
            assert grade.reward == 1.0, grade
            times["by hand"].append(await asyncio.to_thread(_timed, by_hand, instance.id))
            naive = _naive(folder, work / f"naive-{round_}")
            times["naive"].append(await asyncio.to_thread(_timed, naive, instance.id))
    finally:
        await benchmark.close()
    return times


def _timed(grade: Callable[[str], None], instance: str) -> float:
    started = time.perf_counter()
    grade(instance)
    return time.perf_counter() - started


def _by_hand(benchmark: Path, crate: Path) -> Callable[[str], None]:
    """A crate that is built already: put the file in place, one `cargo test --lib`."""
    shutil.copytree(benchmark / "scaffold", crate)
    _cargo(crate, "test", "--lib", "--no-run")

    def grade(instance: str) -> None:
        _cargo(crate, "test", "--lib", "--", _place(crate, instance))

    return grade


def _naive(benchmark: Path, crate: Path) -> Callable[[str], None]:
    """As one would write it first: a fresh copy of the crate, `cargo check`, then `cargo test`."""

    def grade(instance: str) -> None:
        shutil.copytree(benchmark / "scaffold", crate)
        tests = _place(crate, instance)
        _cargo(crate, "check")
        _cargo(crate, "test", "--", "--test-threads=1", tests)
        shutil.rmtree(crate)

    return grade


def _place(crate: Path, instance: str) -> str:
    """Put the reference solution and its tests into the crate; returns the tests' module."""
    name = instance.replace("-", "_")
    split = instance.partition("-")[0]
    card = (
        crate
        / json.loads((SAMPLE / f"data/instances/single/{instance}.json").read_text())["card_file"].partition("/")[2]
    )
    gold = SAMPLE / "gold"
    card.write_text((gold / f"implementations/{name}.rs").read_text() + (gold / f"tests/{name}_eval.rs").read_text())
    declarations = crate / f"src/{split}/cards/mod.rs"
    if f"mod {name};" not in declarations.read_text():
        declarations.write_text(declarations.read_text() + f"pub mod {name};\n")
    return f"{split}::cards::{name}::eval_tests"


def _cargo(crate: Path, *arguments: str) -> None:
    environment = os.environ | {"CARGO_TARGET_DIR": str(crate / "target")}
    subprocess.run(["cargo", *arguments], cwd=crate, env=environment, check=True, capture_output=True)


def _add_rows(table: Table, scaffold: str, times: dict[str, list[float]]) -> None:
    warm = median(times["warm"])
    names = {
        "warm": "warm slot (ours)",
        "by hand": "bare incremental cargo test --lib, by hand",
        "naive": "cold copy, cargo check, cargo test",
    }
    for way, name in names.items():
        seconds = median(times[way])
        table.add_row(scaffold, name, f"{seconds:.2f}", f"{60 / seconds:.0f}", f"{seconds / warm:.2f} x")
