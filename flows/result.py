"""The result document, `results/<run>/result.json`: the machine-readable outcome of a run (see docs/results.md)."""

from datetime import datetime
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from evals.statistics import Counts, Difference

SCHEMA_VERSION: Final = 1

RunStatus = Literal["completed", "incomplete", "failed", "cancelled"]
"""`completed`: every rollout has a score; `incomplete`: some have none; `failed`: a step failed; `cancelled`."""


class ErrorRow(BaseModel):
    kind: str
    """A class of errors, e.g. `does-not-compile` or `InfrastructureError`."""
    message: str


class RolloutRow(BaseModel):
    """One rollout."""

    instance: str
    seed: int
    """Index of the instance in the split, from 0."""
    attempt: int
    """From 0."""
    reward: float | None
    """0..1; null if the rollout could not be scored."""
    former_reward: float | None = None
    """Of a run that grades another one's code again: the reward there."""
    tests_passed: int | None
    tests_total: int | None
    error: ErrorRow | None
    phases: dict[str, float]
    """Seconds spent in `queue`, `prepare`, `agent`, `compile`, `tests`."""
    agent: str
    model: str | None
    turns: int | None
    """Replies of the model."""
    tokens: int | None
    cost_usd: float | None
    artifacts: list[str]
    """Paths relative to the result document."""


class Comparison(Difference):
    """Against the last run before it under the same conditions (see docs/results.md), or the one graded again."""

    run: str
    """Name of that run."""
    mean_reward: float | None
    """Of that run."""


class BenchmarkReference(BaseModel):
    name: str
    commit: str | None = None
    """Of the clone that it lies in, with `-dirty` where files differ; null if it is no clone of its own."""
    content_hash: str
    """SHA-256 of its files."""


class Rescoring(BaseModel):
    """What was graded again. That run, its scores and its artifacts stay as they are."""

    run: str
    """Name of that run."""
    changed: int
    """Rollouts that have another reward now."""
    kept: int
    """Rollouts of which no code was kept, e.g. since the agent left none: their old score stands."""


class ResultDocument(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="null")

    schema_version: Literal[1] = SCHEMA_VERSION
    run: str
    """Name of the run, and of its folder."""
    flow_run_id: str
    status: RunStatus
    error: ErrorRow | None
    """Why the run is not `completed`."""
    warnings: list[str]
    """What does not change a score but wants a look, e.g. a sandbox that may be left behind."""
    started_at: datetime
    finished_at: datetime
    mean_reward: float | None
    """Over the scored rollouts; null if there are none."""
    interval_95: tuple[float, float] | None
    """95% confidence interval of the mean, clustered by instance; null with fewer than two instances."""
    counts: Counts
    pass_at_k: dict[int, float] = Field(default_factory=dict)
    """By k, the chance that one of k attempts solves an instance; k goes up to the attempts that each instance has."""
    unstable: list[str] = Field(default_factory=list)
    """Instances that some attempts solved and others did not."""
    parameters: dict[str, object]
    versions: dict[str, str]
    benchmark: BenchmarkReference
    comparison: Comparison | None
    """Null if there is no such run, or it shares no scored instance, or had another content hash. With `rescored`, it
    is against that run, whatever its content hash."""
    rescored: Rescoring | None = None
    """Null unless this run has graded again what another one's agents wrote."""
    rollouts: list[RolloutRow]
