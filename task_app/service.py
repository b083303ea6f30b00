"""What the routes share: one benchmark, getting it ready, and the rollouts on it."""

import asyncio
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from task_app.agents import Agent
from task_app.benchmarks import Instance, open_benchmark
from task_app.benchmarks.harbor_image import settle
from task_app.build_cache import BuildCache
from task_app.isolation import Isolation, Level
from task_app.rollout import Performer
from task_app.rollouts import Rollouts
from task_app.settings import Settings
from task_app.versions import VERSION, rustc_version
from task_app.warmup import Warmup


class Service:
    """Raises BenchmarkError if the benchmark can't be read. Nothing runs before `start` or after `stop`."""

    def __init__(self, settings: Settings, agents: Mapping[str, Agent]) -> None:
        self.settings = settings
        self.agents = agents
        if settings.image_app is not None:
            settle(settings.benchmark, settings.image_app)
        self.benchmark = open_benchmark(settings.benchmark, settings.benchmark_name)
        self.warmup = Warmup(self._warm)
        self.isolation: Isolation | None = None
        """How well processes can be confined here; None until that was tried."""
        self._rustc: str | None = None
        self._rollouts_folder = settings.work / "rollouts"
        self._performer = Performer(self.benchmark, agents, self._rollouts_folder, settings.agent_environment)
        self.rollouts = Rollouts(self._performer, settings.slots, self.warmup.ready)

    async def start(self) -> None:
        """Get ready in the background; `warmup` tells how far it is."""
        if self.settings.seal:
            self.benchmark.seal()
        # What a killed predecessor left: nobody else works in this folder.
        await asyncio.to_thread(_empty, self._rollouts_folder)
        self.warmup.start()

    async def stop(self) -> None:
        """Cancel every rollout under way, with its processes. Fine twice."""
        await self.rollouts.close()
        await self.warmup.stop()
        await self.benchmark.close()

    async def _warm(self) -> None:
        self._rustc = await rustc_version()
        settings = self.settings
        hidden = [path for path in (settings.benchmark, settings.build_cache) if path is not None]
        self.isolation = await Isolation.detect(self._rollouts_folder, hidden)
        # Where agents are the same user as we are, they could write to the cache.
        kept = settings.build_cache if self.isolation.level is not Level.PROCESS else None
        cache = BuildCache(kept, settings.build_cache_limit)
        self._performer.isolation = self.isolation
        await self.benchmark.warm(settings.work, settings.slots, self.isolation, cache)

    def info(self) -> dict[str, Any]:
        """What this task app holds and works with; what that takes to find out is None until it is ready."""
        return {
            "benchmark": {
                "name": self.benchmark.name,
                "description": self.benchmark.description,
                "instances": len(self.benchmark.instances()),
                "splits": {split: len(self.benchmark.instances(split)) for split in self.benchmark.splits},
            },
            "agents": {agent.name: agent.description for agent in self.agents.values()},
            "slots": self.settings.slots,
            "isolation": self.isolation.level if self.isolation else None,
            "versions": {"task_app": VERSION, "python": platform.python_version(), "rustc": self._rustc},
        }

    def describe_split(self, split: str | None) -> dict[str, Any]:
        """The instances that seeds count through. Raises InvalidRequest for an unknown split."""
        instances = self.benchmark.instances(split)
        return {
            "benchmark": self.benchmark.name,
            "split": split,
            "splits": self.benchmark.splits,
            "instances": [instance.id for instance in instances],
        }

    def describe_instance(self, seed: int, split: str | None) -> dict[str, Any]:
        """The instance of a wire seed, as far as anybody may know it. Raises InvalidRequest for an unknown split."""
        instances = self.benchmark.instances(split)
        instance: Instance = instances[seed % len(instances)]
        return {"benchmark": self.benchmark.name, "seed": seed % len(instances), **instance.model_dump(mode="json")}


def _empty(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
