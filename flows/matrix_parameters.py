"""The parameters of a matrix: agents x models x benchmarks, what each run of it has in common, and its budget."""

from itertools import product
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from flows.parameters import AgentName, BackendName, BenchmarkName, Parameters

BASELINES: frozenset[AgentName] = frozenset({"gold", "noop"})
"""Agents that ask no model: they run once on each benchmark."""

UNPRICED: frozenset[AgentName] = frozenset({"codex", "command"})
"""Agents that never tell what they cost; others do where they know their model's price."""


def _as_in_a_run(name: str) -> Any:
    """The field of a single run's parameters, with its default, bounds and description."""
    return Parameters.model_fields[name]


class Cell(BaseModel):
    """One run of a matrix."""

    model_config = ConfigDict(frozen=True)

    benchmark: BenchmarkName
    agent: AgentName
    model: str

    @property
    def contestant(self) -> str:
        """Who is compared, e.g. `codex · gpt-5.2`."""
        return " · ".join(filter(None, (self.agent, self.model)))

    @property
    def label(self) -> str:
        return f"{self.benchmark} · {self.contestant}"


class MatrixParameters(BaseModel):
    """Which agents and models to compare on which benchmarks, and what that may cost. Flat, like `Parameters`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    agents: list[AgentName] = Field(default=["gold", "noop"], min_length=1, description="Who is compared.")
    models: list[str] = Field(
        default=[],
        description="Models for each agent, as its own command line names them; `codex=gpt-5.2` is for codex alone. "
        "Empty takes each agent's own choice. Baselines (`gold`, `noop`) ask no model.",
    )
    benchmarks: list[BenchmarkName] = Field(default=["sample"], min_length=1, description="What they are compared on.")
    max_cost_usd: float = Field(
        default=0,
        ge=0,
        description="US dollars that the agents may spend over all runs, as far as they tell their cost (`codex` and "
        "`command` never do); 0 sets no limit. What is running when the limit is reached is ended, and can be resumed.",
    )
    max_minutes: float = Field(
        default=0, ge=0, description="Minutes after which no more work is handed out; 0 sets no limit."
    )
    backend: BackendName = _as_in_a_run("backend")
    split: str = _as_in_a_run("split")
    seeds: int = _as_in_a_run("seeds")
    instances: list[str] = _as_in_a_run("instances")
    agent_command: str = _as_in_a_run("agent_command")
    inference_url: str = _as_in_a_run("inference_url")
    timeout: int = _as_in_a_run("timeout")
    internet: bool = _as_in_a_run("internet")
    max_turns: int = _as_in_a_run("max_turns")
    system_prompt: str = _as_in_a_run("system_prompt")
    context: str = _as_in_a_run("context")
    attempts: int = _as_in_a_run("attempts")
    concurrency: int = _as_in_a_run("concurrency")
    sandboxes: int = _as_in_a_run("sandboxes")
    port: int = _as_in_a_run("port")
    image: str = _as_in_a_run("image")
    snapshot: str = _as_in_a_run("snapshot")
    cpu: int = _as_in_a_run("cpu")
    memory: int = _as_in_a_run("memory")
    disk: int = _as_in_a_run("disk")

    @property
    def cells(self) -> list[Cell]:
        """All runs, benchmark by benchmark, so that a budget that ends early leaves whole comparisons."""
        found = [
            Cell(benchmark=benchmark, agent=agent, model=model)
            for benchmark, agent in product(self.benchmarks, self.agents)
            for model in self._models_of(agent)
        ]
        return list(dict.fromkeys(found))

    def run(self, cell: Cell) -> Parameters:
        """The parameters of one run."""
        common = {name: value for name, value in self if name in Parameters.model_fields}
        return Parameters(**common, benchmark=cell.benchmark, agent=cell.agent, model=cell.model)

    @property
    def title(self) -> str:
        """What a matrix run is called, e.g. `local · 3 agents · 2 models · sample`."""
        models = f"{len(self.models)} models" if self.models else ""
        return " · ".join(filter(None, (self.backend, f"{len(self.agents)} agents", models, *self.benchmarks)))

    def _models_of(self, agent: AgentName) -> list[str]:
        if agent in BASELINES:
            return [""]
        chosen = []
        for model in self.models:
            owner, is_owned, name = model.partition("=")
            if not (is_owned and owner in self.agents):
                chosen.append(model)
            elif owner == agent:
                chosen.append(name)
        return chosen or [""]
