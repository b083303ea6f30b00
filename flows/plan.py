"""From parameters to lanes: which benchmark, which seeds, in which sandboxes. No network, no side effects."""

import fnmatch
import math
from collections.abc import Collection, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr

from core.errors import ConfigurationError
from core.settings import Settings
from flows import benchmarks
from flows.agent_needs import agent_tools
from flows.context import read_context
from flows.environments import machine_for
from flows.parameters import Parameters
from sandboxes import bundle
from sandboxes.base import Machine, SandboxSpec
from sandboxes.bundle import Bundle
from task_app.benchmarks import Benchmark, open_benchmark
from task_app.benchmarks.harbor import Harbor
from task_app.contracts import ContextOverride
from task_app.errors import TaskAppError

ROOT = Path(__file__).resolve().parent.parent

_GRADING_ALLOWANCE = 300
"""Seconds a rollout may take beyond its agent: waiting for a slot's warm-up, compiling and testing."""


class Lane(BaseModel):
    """One sandbox at a time, and its share of the work."""

    model_config = ConfigDict(frozen=True)

    number: int
    """Counts from 1, as the UI shows it."""
    spec: SandboxSpec
    generation: int = 1
    """Counts the lane's sandboxes."""
    seeds: tuple[int, ...]
    """Wire seeds: index of the instance in the split + attempt * number of instances in the split."""

    @property
    def label(self) -> str:
        """Names the lane and its sandbox in the UI."""
        return str(self.number) if self.generation == 1 else f"{self.number}, sandbox {self.generation}"

    def with_another_sandbox(self) -> "Lane":
        """The same lane, to be run in a sandbox of another name: the old one may not be gone yet."""
        generation = self.generation + 1
        base = self.spec.name if self.generation == 1 else self.spec.name.rpartition("-")[0]
        spec = self.spec.model_copy(update={"name": f"{base}-{generation}"})
        return self.model_copy(update={"spec": spec, "generation": generation})


class Plan(BaseModel):
    """Everything that is decided before a sandbox is paid for."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    """Identifies the results: the flow run's id, or that of the run which is resumed."""
    flow_run_id: str
    """Identifies who owns the sandboxes."""
    parameters: Parameters
    benchmark_dir: Path
    context: ContextOverride | None
    """What the agent is to find in its surroundings."""
    tools: tuple[str, ...]
    """Programs that grading and the agent need inside the sandbox, as `Backend.install` takes them."""
    grading_allowance: float
    """Seconds that a rollout may take beyond its agent."""
    instances: tuple[str, ...]
    """All ids of the split, in seed order."""
    seeds: tuple[int, ...]
    """All wire seeds of the run, scored already or not."""
    lanes: tuple[Lane, ...]
    """They share the seeds that have no score yet."""

    @property
    def total(self) -> int:
        return len(self.seeds)

    @property
    def title(self) -> str | None:
        """What the flow run is called; None for one that goes on with another's results, whose own name says so."""
        if self.flow_run_id != self.run_id or self.parameters.rescore:
            return None
        return self.parameters.title_of(len(self.seeds) // self.parameters.attempts)

    @property
    def secrets(self) -> list[SecretStr]:
        """What no log and no result may show."""
        return self.context.secrets if self.context else []

    @property
    def already_scored(self) -> int:
        return len(self.seeds) - sum(len(lane.seeds) for lane in self.lanes)

    @property
    def machines(self) -> tuple[Machine, ...]:
        """The different ones that the lanes' sandboxes are made of."""
        return tuple(dict.fromkeys(lane.spec.machine for lane in self.lanes))

    def on(self, machines: Mapping[Machine, Machine]) -> "Plan":
        """The same plan, its sandboxes made of these instead."""
        lanes = [
            lane.model_copy(update={"spec": lane.spec.model_copy(update={"machine": machines[lane.spec.machine]})})
            for lane in self.lanes
        ]
        return self.model_copy(update={"lanes": tuple(lanes)})

    def others(self, lane: Lane) -> list[int]:
        """The seeds of the other lanes that this one could take over; those furthest from being begun come first."""
        return [
            seed
            for other in self.lanes
            if other.number != lane.number and other.spec.machine == lane.spec.machine
            for seed in reversed(other.seeds)
        ]

    def locate(self, wire_seed: int) -> tuple[str, int, int]:
        """Instance id, seed and attempt (both from 0) of a wire seed."""
        attempt, seed = divmod(wire_seed, len(self.instances))
        return self.instances[seed], seed, attempt

    def rollout_name(self, wire_seed: int) -> str:
        """Names a rollout within its run, e.g. for a folder."""
        instance, _, attempt = self.locate(wire_seed)
        return instance if attempt == 0 else f"{instance}.attempt-{attempt + 1}"


def make_plan(
    parameters: Parameters,
    flow_run_id: str,
    settings: Settings,
    *,
    run_id: str | None = None,
    scored: Collection[int] = (),
    only: Collection[int] | None = None,
) -> Plan:
    """Choose the instances and deal them out to the lanes.

    Args:
        run_id: of the run that is resumed, if one is.
        scored: wire seeds that have a score already.
        only: no other wire seeds than these; None for all that the parameters ask for.

    Raises:
        ConfigurationError: the benchmark, the split, the instances or the context asked for are not there.
    """
    folder = benchmarks.benchmark_dir(parameters.benchmark, settings, parameters.path)
    try:
        benchmark = open_benchmark(folder)
        ids = tuple(instance.id for instance in benchmark.instances(parameters.split or None))
    except TaskAppError as error:
        raise ConfigurationError(str(error)) from error
    if parameters.backend == "local" and not parameters.task_app_url:
        benchmarks.require_images(benchmark, folder, parameters.harbor_root)
    seeds = _choose(ids, parameters, benchmark)
    wire_seeds = [seed + attempt * len(ids) for attempt in range(parameters.attempts) for seed in seeds]
    wire_seeds = [seed for seed in wire_seeds if only is None or seed in only]
    missing = [seed for seed in wire_seeds if seed not in scored]
    verifier = benchmark.longest_verifier if isinstance(benchmark, Harbor) else 0
    allowance = _GRADING_ALLOWANCE + verifier
    groups = _by_machine(missing, ids, benchmark, parameters)
    return Plan(
        run_id=run_id or flow_run_id,
        flow_run_id=flow_run_id,
        parameters=parameters,
        benchmark_dir=folder,
        context=None if parameters.rescore else read_context(parameters.context),
        tools=(*benchmark.tools, *agent_tools(parameters)),
        grading_allowance=allowance,
        instances=ids,
        seeds=tuple(wire_seeds),
        lanes=tuple(_deal(groups, parameters, flow_run_id, allowance)),
    )


def _choose(ids: tuple[str, ...], parameters: Parameters, benchmark: Benchmark) -> list[int]:
    def wanted(instance: str) -> bool:
        return not parameters.instances or any(fnmatch.fnmatchcase(instance, glob) for glob in parameters.instances)

    unknown = [glob for glob in parameters.instances if not fnmatch.filter(ids, glob)]
    if unknown or not ids:
        raise ConfigurationError(
            f"No instance of {benchmark.name} matches {', '.join(unknown) or 'this split'}. "
            f"`engine-bench list --benchmark {parameters.benchmark}` shows what is there."
        )
    seeds = [seed for seed, instance in enumerate(ids) if wanted(instance)]
    return seeds[: parameters.seeds or None]


def _by_machine(
    wire_seeds: list[int], ids: tuple[str, ...], benchmark: Benchmark, parameters: Parameters
) -> dict[Machine, list[int]]:
    """The seeds by what their sandboxes are made of."""
    asked = Machine(
        image=parameters.image,
        snapshot=parameters.snapshot,
        cpu=parameters.cpu,
        memory=parameters.memory,
        disk=parameters.disk,
    )
    # a task app that runs already is somewhere, and a given folder stands for the images' content
    builds_images = parameters.backend == "daytona" and not (parameters.harbor_root or parameters.task_app_url)
    if not builds_images or not isinstance(benchmark, Harbor):
        return {asked: wire_seeds} if wire_seeds else {}
    groups: dict[Machine, list[int]] = {}
    patience: dict[Machine, float] = {}
    for seed in wire_seeds:
        task = benchmark.task(ids[seed % len(ids)])
        machine = machine_for(task, asked)
        groups.setdefault(machine, []).append(seed)
        if seconds := task.config.environment.build_timeout_sec:
            patience[machine] = max(seconds, patience.get(machine, 0))
    return {machine.model_copy(update={"build_timeout": patience.get(machine)}): groups[machine] for machine in groups}


def _deal(
    groups: Mapping[Machine, list[int]], parameters: Parameters, flow_run_id: str, allowance: float
) -> list[Lane]:
    total = sum(map(len, groups.values()))
    shares = [
        (machine, tuple(seeds[index::count]))
        for (machine, seeds), count in zip(groups.items(), _lanes_each(groups, parameters.sandboxes), strict=True)
        for index in range(count)
    ]
    return [
        Lane(
            number=index + 1,
            spec=SandboxSpec(
                name=f"eb-{flow_run_id.replace('-', '')[:20]}-{index + 1}",
                run_id=flow_run_id,
                lane=index,
                port=parameters.port,
                lifetime=_lifetime(total, parameters, allowance),
                machine=machine,
            ),
            seeds=share,
        )
        for index, (machine, share) in enumerate(shares)
    ]


def _lanes_each(groups: Mapping[Machine, list[int]], sandboxes: int) -> list[int]:
    """How many lanes each group is given: one at least, and the others where there is most to do for each lane."""
    sizes = [len(seeds) for seeds in groups.values()]
    lanes = [1] * len(sizes)
    for _ in range(min(sandboxes, sum(sizes)) - len(sizes)):
        neediest = max(range(len(sizes)), key=lambda index: sizes[index] / lanes[index])
        lanes[neediest] += 1
    return lanes


def _lifetime(rollouts: int, parameters: Parameters, allowance: float) -> int:
    """Seconds after which nothing of a lane can still be wanted, should it have to do all the work alone."""
    rounds = -(-rollouts // parameters.concurrency)
    return 1800 + rounds * math.ceil(parameters.timeout + allowance)


def pack(plan: Plan) -> Bundle:
    """What every sandbox of the run is given: the task app and the benchmark. Reads files; call it in a thread."""
    return bundle.build({"task_app": ROOT / "task_app", **_parts(plan)})


def content_hash(plan: Plan) -> str:
    """SHA-256 of the benchmark's files, in hex: the same for the same content, wherever it lies."""
    return bundle.build(_parts(plan)).digest


def _parts(plan: Plan) -> dict[str, Path]:
    return benchmarks.parts(plan.benchmark_dir, plan.parameters.harbor_root)
