"""The health check of a benchmark: its reference solutions have to score 1, and what agents start from at most 0.3.

Rollouts are performed as in a sandbox, by the same code on the same copy, but without a sandbox around them.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from core.errors import ConfigurationError, InfrastructureError
from core.settings import Settings
from flows.benchmarks import benchmark_dir, parts, require_images
from sandboxes import bundle
from task_app.agents import AGENTS
from task_app.benchmarks import Benchmark, Instance, open_benchmark
from task_app.build_cache import BuildCache
from task_app.contracts import EnvConfig, PolicyConfig, RolloutEnv, RolloutPolicy, RolloutRequest
from task_app.errors import InfrastructureFailure, TaskAppError
from task_app.grade import COMPILES
from task_app.isolation import Isolation, Level
from task_app.rollout import Performer

GOLD, NOOP = "gold", "noop"
_TIMEOUT = 600

OnBegin = Callable[[int], None]
"""Is told how many instances there are, once that is known."""
OnChecked = Callable[["Checked"], None]


@dataclass(frozen=True)
class Score:
    """What one baseline earned; without a reward where that could not be told."""

    reward: float | None
    message: str


@dataclass(frozen=True)
class Checked:
    """One instance."""

    instance: str
    gold: Score | None
    """None where there is no reference solution."""
    stub: Score

    @property
    def problems(self) -> list[str]:
        """Empty if all is well."""
        found = []
        if self.gold is not None and self.gold.reward != 1:
            found.append(f"gold scores {_told(self.gold)}")
        if self.stub.reward is None or self.stub.reward > COMPILES:
            found.append(f"the stub scores {_told(self.stub)}")
        return found


async def verify(
    name: str,
    settings: Settings,
    *,
    path: str = "",
    harbor_root: str = "",
    split: str = "",
    concurrency: int = 2,
    on_begin: OnBegin = lambda instances: None,
    on_checked: OnChecked = lambda checked: None,
) -> list[Checked]:
    """Check every instance of a benchmark, or of a split; in seed order.

    Raises:
        ConfigurationError: the benchmark is not there, or can't be read.
        InfrastructureError: nothing of it can be graded on this machine.
    """
    folder = benchmark_dir(name, settings, path)
    try:
        benchmark = open_benchmark(folder)
        instances = benchmark.instances(split or None)
    except TaskAppError as error:
        raise ConfigurationError(str(error)) from error
    require_images(benchmark, folder, harbor_root)
    on_begin(len(instances))
    with _workplace(settings) as work:
        await asyncio.to_thread(_copy, parts(folder, harbor_root), work)
        benchmark = open_benchmark(work / "benchmark", name)
        try:
            performer = await _performer(benchmark, work, settings, concurrency)
            return await _check_all(
                performer, benchmark, instances, split=split, concurrency=concurrency, on_checked=on_checked
            )
        except InfrastructureFailure as error:
            raise InfrastructureError(f"{name} can't be verified here. {error}") from error
        finally:
            await benchmark.close()


def table(checked: list[Checked]) -> Table:
    """The instances with a problem."""
    shown = Table("instance", "gold", "stub", "problem")
    for each in checked:
        if each.problems:
            shown.add_row(each.instance, _number(each.gold), _number(each.stub), escape("; ".join(each.problems)))
    return shown


def summary(checked: list[Checked]) -> str:
    """One line."""
    broken = sum(bool(each.problems) for each in checked)
    without = sum(each.gold is None for each in checked)
    missing = f" {without} have no reference solution." if without else ""
    return f"{len(checked) - broken} of {len(checked)} instances are as they should be.{missing}"


@contextmanager
def _workplace(settings: Settings) -> Iterator[Path]:
    cache = settings.cache_dir.expanduser()
    cache.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="verify-", dir=cache))
    folder.chmod(0o711)  # users of jails have to pass through
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(given: dict[str, Path], work: Path) -> None:
    bundle.unpack(bundle.build(given), work)


async def _performer(benchmark: Benchmark, work: Path, settings: Settings, slots: int) -> Performer:
    rollouts = work / "rollouts"
    await asyncio.to_thread(rollouts.mkdir)
    isolation = await Isolation.detect(rollouts, hidden=[work / "benchmark"])
    cache = BuildCache(settings.builds_dir if isolation.level is not Level.PROCESS else None, settings.builds_limit)
    performer = Performer(benchmark, AGENTS, rollouts, agent_environment={})
    performer.isolation = isolation
    await benchmark.warm(work / "work", slots, isolation, cache)
    return performer


async def _check_all(
    performer: Performer,
    benchmark: Benchmark,
    instances: tuple[Instance, ...],
    *,
    split: str,
    concurrency: int,
    on_checked: OnChecked,
) -> list[Checked]:
    at_a_time = asyncio.Semaphore(concurrency)

    async def check(seed: int, instance: Instance) -> Checked:
        async with at_a_time:
            known = benchmark.reference(instance) is not None
            gold = await _score(performer, GOLD, seed, split) if known else None
            checked = Checked(instance.id, gold, await _score(performer, NOOP, seed, split))
        on_checked(checked)
        return checked

    async with asyncio.TaskGroup() as group:
        running = [group.create_task(check(seed, instance)) for seed, instance in enumerate(instances)]
    return [task.result() for task in running]


async def _score(performer: Performer, agent: str, seed: int, split: str) -> Score:
    request = RolloutRequest(
        trace_correlation_id=f"{agent}-{seed}",
        env=RolloutEnv(seed=seed, config=EnvConfig(split=split or None)),
        policy=RolloutPolicy(config=PolicyConfig(agent=agent, timeout=_TIMEOUT)),
    )
    try:
        response = await performer.perform(performer.assign(request))
    except InfrastructureFailure as error:
        return Score(None, str(error))
    return Score(response.reward_info.outcome_reward, response.status_detail or "")


def _told(score: Score) -> str:
    number = "nothing" if score.reward is None else f"{score.reward:.2f}"
    return f"{number} ({score.message})" if score.message else number


def _number(score: Score | None) -> str:
    return "-" if score is None or score.reward is None else f"{score.reward:.2f}"
