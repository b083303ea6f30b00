"""The task-app contract: what an eval service sends and gets, field by field (the Synth eval protocol)."""

import json
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, computed_field

from task_app.collect import SIZE_LIMIT

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


_NO_SECRET = re.compile(r"[A-Za-z ._-]{0,16}|[0-9.]{0,16}")
"""A variable's value that is a plain word or a number: to take it out wherever it stands would garble what is kept."""


class ContextOverride(BaseModel):
    """What an agent is to find in its surroundings, e.g. as an optimizer proposes it."""

    model_config = ConfigDict(extra="ignore")

    override_id: str | None = None
    file_artifacts: dict[str, str] = Field(default_factory=dict)
    """Contents by path relative to the workspace: `AGENTS.md`, `skills/<name>/SKILL.md`, or anything else."""
    preflight_script: str | None = None
    """Run before the agent starts; begins with #!/bin/bash."""
    env_vars: dict[str, str] = Field(default_factory=dict, repr=False)

    @property
    def secrets(self) -> list[SecretStr]:
        """What of the variables nobody may be shown: as it is, and as it stands within JSON."""
        values = [value for value in self.env_vars.values() if not _NO_SECRET.fullmatch(value)]
        forms = {form for value in values for form in (value, *(_within_json(value, ascii) for ascii in (True, False)))}
        return [SecretStr(form) for form in sorted(forms)]


def _within_json(text: str, ascii: bool) -> str:
    return json.dumps(text, ensure_ascii=ascii)[1:-1]


class PolicyConfig(BaseModel):
    model_config = ConfigDict(extra="allow")

    agent: str = "opencode"
    model: str | None = None
    timeout: float = Field(default=600, gt=0, le=14_400)
    """Seconds of wall clock for the agent."""
    agent_command: str | None = Field(default=None, max_length=4000)
    """What the agent `command` runs, for a shell."""
    system_prompt: str | None = Field(default=None, max_length=100_000)
    """Added to the agent's own."""
    context_overrides: list[ContextOverride] = Field(default_factory=list)
    """As a request's own, for eval services that pass on nothing but the policy; those of the request come after."""
    max_turns: int | None = Field(default=None, ge=1)
    """Answers of the model that the agent may have; None for as many as it likes."""
    internet: bool = False
    """Let the agent reach the internet, where solutions may be published, unless its task forbids that."""
    inference_url: str | None = None
    """Where the model is to be asked instead of at its provider; the correlation id becomes part of the path."""


class RolloutPolicy(BaseModel):
    model_config = ConfigDict(extra="ignore")

    config: PolicyConfig = Field(default_factory=PolicyConfig)


OverrideErrorType = Literal["validation", "path_traversal", "permission", "size_limit", "timeout", "runtime"]


class OverridePart(BaseModel):
    """What became of one file, script or variable. Fields that say nothing about it are null."""

    status: Literal["applied", "failed", "skipped"]
    """`skipped`: the agent can't use it."""
    error: str | None = None
    error_type: OverrideErrorType | None = None
    bytes_written: int | None = None
    exit_code: int | None = None
    stdout: str | None = None
    stderr: str | None = None
    duration_ms: int | None = None

    @classmethod
    def refused(cls, kind: OverrideErrorType, message: str) -> "OverridePart":
        return cls(status="failed", error=message, error_type=kind)


class OverrideResult(BaseModel):
    override_id: str
    file_artifacts: dict[str, OverridePart] = Field(default_factory=dict)
    preflight_script: OverridePart | None = None
    env_vars: dict[str, OverridePart] = Field(default_factory=dict)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def overall_status(self) -> Literal["applied", "partial", "failed", "skipped"]:
        """`partial`: some parts were applied, and others not."""
        script = [self.preflight_script] if self.preflight_script else []
        statuses = {part.status for part in (*self.file_artifacts.values(), *script, *self.env_vars.values())}
        if len(statuses) > 1:
            return "partial" if "applied" in statuses else "failed"
        return next(iter(statuses), "applied")


class RolloutRequest(BaseModel):
    model_config = ConfigDict(extra="ignore")

    trace_correlation_id: CorrelationId = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,199}$")
    """Identifies the rollout from end to end; asking twice returns the same one."""
    env: RolloutEnv
    policy: RolloutPolicy = Field(default_factory=RolloutPolicy)
    context_overrides: list[ContextOverride] | None = None
    submission: str | None = Field(default=None, max_length=SIZE_LIMIT)
    """What an agent has left in the file to write, to be graded again. No agent runs; the policy names who that was."""


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
    override_application_results: list[OverrideResult] | None = None
    """One for each of the request's context overrides; null if there were none."""


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
