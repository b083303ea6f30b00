"""The task-app contract: what an eval service sends and gets, field by field (the Synth eval protocol)."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

CorrelationId = str
RolloutStatus = Literal["queued", "running", "success", "infrastructure_failure", "cancelled"]

TERMINAL: frozenset[RolloutStatus] = frozenset({"success", "infrastructure_failure", "cancelled"})


class EnvConfig(BaseModel):
    model_config = ConfigDict(extra="ignore")

    benchmark: str | None = None
    """Must be the benchmark that this sandbox holds; None takes it as it is."""
    split: str | None = None
    """Seeds count within this split; None for all instances."""


class RolloutEnv(BaseModel):
    model_config = ConfigDict(extra="ignore")

    env_name: str | None = None
    config: EnvConfig = Field(default_factory=EnvConfig)
    seed: int = Field(ge=0)
    """Picks the instance: index into the sorted ids of the split, modulo their number."""


class PolicyConfig(BaseModel):
    model_config = ConfigDict(extra="allow")

    agent: str = "opencode"
    model: str | None = None
    timeout: float = Field(default=600, gt=0, le=14_400)
    """Seconds of wall clock for the agent."""
    agent_command: str | None = Field(default=None, max_length=4000)
    """What the agent `command` runs, for a shell."""
    max_turns: int | None = Field(default=None, ge=1)
    """Answers of the model that the agent may have; None for as many as it likes."""
    inference_url: str | None = None
    """Where the model is to be asked instead of at its provider; the correlation id becomes part of the path."""


class RolloutPolicy(BaseModel):
    model_config = ConfigDict(extra="ignore")

    config: PolicyConfig = Field(default_factory=PolicyConfig)


class RolloutRequest(BaseModel):
    model_config = ConfigDict(extra="ignore")

    trace_correlation_id: CorrelationId = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,199}$")
    """Identifies the rollout from end to end; asking twice returns the same one."""
    env: RolloutEnv
    policy: RolloutPolicy = Field(default_factory=RolloutPolicy)


class FailureDetails(BaseModel):
    kind: str
    message: str


class RolloutDetails(BaseModel):
    """What a row of the result document is made of."""

    benchmark: str
    instance: str
    seed: int
    """Index of the instance within the split."""
    attempt: int
    """How often the wire seed went round all instances: `wire seed // number of instances`."""
    agent: str
    model: str | None = None
    tests_passed: int | None = None
    tests_total: int | None = None
    failure: FailureDetails | None = None
    """Why the reward is not 1 (the agent's doing) or why there is none (the infrastructure's)."""
    phases: dict[str, float] = Field(default_factory=dict)
    """Seconds: `queue`, `prepare`, `agent`, `compile`, `tests`."""
    tokens: int | None = None
    cost_usd: float | None = None
    turns: int | None = None
    """Replies of the model."""


class RewardInfo(BaseModel):
    outcome_reward: float | None
    """0..1; None where the rollout could not be scored."""
    details: RolloutDetails


class Artifact(BaseModel):
    name: str
    """File name, e.g. `final.rs`, `diff.patch`, `compile.txt`, `tests.txt`, `agent.log`."""
    content: str


class RolloutResponse(BaseModel):
    trace_correlation_id: CorrelationId
    reward_info: RewardInfo
    trace: dict[str, Any] | None = None
    artifact: list[Artifact] = Field(default_factory=list)
    success_status: RolloutStatus
    status_detail: str | None = None
    inference_url: str | None = None


class PendingRollout(BaseModel):
    """Answer of the asynchronous form while the rollout is not finished (HTTP 202)."""

    trace_correlation_id: CorrelationId
    status: Literal["queued", "running"]


class Health(BaseModel):
    status: Literal["starting", "ok", "failed"]
    """`starting` while the grading slots are being warmed; `failed` if that can't succeed (see `detail`)."""
    nonce: str
    """Tells the caller that this is the task app that it started."""
    detail: str | None = None
