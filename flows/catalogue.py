"""What can be asked for: benchmarks, instances, agents, as tables for the terminal."""

from typing import get_args

from rich.console import Group
from rich.table import Table

from core.errors import ConfigurationError
from core.settings import Settings
from flows.benchmarks import benchmark_dir
from flows.parameters import AgentName, BenchmarkName
from task_app.agents import AGENTS
from task_app.benchmarks import open_benchmark
from task_app.errors import TaskAppError


def overview(settings: Settings) -> Group:
    """The benchmarks with their size, and the agents."""
    benchmarks = Table(
        "benchmark", "instances", "splits", "needs", "what it is", title="Benchmarks", title_justify="left"
    )
    for name in get_args(BenchmarkName):
        try:
            benchmark = open_benchmark(benchmark_dir(name, settings))
            instances = benchmark.instances()
        except (ConfigurationError, TaskAppError) as error:
            benchmarks.add_row(name, "-", "", "", f"[dim]{error}[/]")
            continue
        splits = sorted({instance.split for instance in instances})
        benchmarks.add_row(
            name, str(len(instances)), ", ".join(splits), ", ".join(benchmark.tools), benchmark.description
        )
    agents = Table("agent", "what it does", title="Agents", title_justify="left")
    for name in get_args(AgentName):
        agents.add_row(name, AGENTS[name].description)
    return Group(benchmarks, "", agents)


def instances(name: str, settings: Settings, path: str = "") -> Table:
    """The instances of a benchmark in seed order.

    Raises:
        ConfigurationError: there is no such benchmark, or it can't be read.
    """
    if name not in get_args(BenchmarkName):
        known = ", ".join(get_args(BenchmarkName))
        raise ConfigurationError(f"There is no benchmark {name!r}. Known benchmarks: {known}.")
    try:
        listed = open_benchmark(benchmark_dir(name, settings, path)).instances()
    except TaskAppError as error:
        raise ConfigurationError(str(error)) from error
    table = Table("seed", "instance", "split", "difficulty", "title", title=name, title_justify="left")
    for seed, instance in enumerate(listed):
        table.add_row(str(seed), instance.id, instance.split, str(instance.difficulty), instance.title)
    return table
