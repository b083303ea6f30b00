"""The Synth eval protocol as JSON: what an eval job is asked with, how its rows travel, what a task app answers.

The `details` of a result are ours: the whole `Row`, which a hosted eval service does not send.
"""

import json
import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from evals.models import Artifact, EvalRequest, Row, RowError, rollout_id
from evals.secrecy import without_variables

CORRELATION_ID = r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,199}$"


class EnvConfig(BaseModel):
    """Which instances, and on whose behalf; passed on to the task app."""

    model_config = ConfigDict(extra="allow")

    benchmark: str | None = None
    split: str | None = None
    run_id: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,149}$")
    """None makes the job a run of its own."""
    others: list[int] = Field(default_factory=list)
    """See EvalRequest.others. No business of the task app."""
    rescore: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,149}$")
    """See EvalRequest.rescore. The task app is sent the code itself."""


class JobRequest(BaseModel):
    """Body of `POST /api/eval/jobs`, as EvalJob sends it."""

    model_config = ConfigDict(extra="ignore")

    task_app_url: str = Field(pattern=r"^https?://[^@/]+(/[^@]*)?$")
    task_app_api_key: SecretStr
    env_name: str | None = None
    seeds: list[int] = Field(min_length=1, max_length=100_000)
    policy: dict[str, Any] = Field(default_factory=dict)
    env_config: EnvConfig = Field(default_factory=EnvConfig)
    verifier_config: None = None
    """Not supported: the embedded eval service scores with the task app's reward alone."""
    max_concurrent: int = Field(default=1, ge=1)
    timeout: float = Field(default=900, gt=0)
    """Seconds per rollout."""

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, seeds: list[int]) -> list[int]:
        if min(seeds) < 0 or len(set(seeds)) != len(seeds):
            raise ValueError("must be distinct and not negative")
        return seeds

    def without_keys(self) -> dict[str, Any]:
        """What may be stored and echoed; of the agent's variables it tells whether they are the same."""
        kept = self.model_dump(mode="json", exclude={"task_app_api_key"})
        return {**kept, "policy": without_variables(kept["policy"], self.env_config.run_id or "")}


def job_arguments(request: EvalRequest) -> dict[str, Any]:
    """The arguments of synth-ai's EvalJobConfig, but for the eval service's URL and key. Holds a key: never log it."""
    return {
        "task_app_url": request.task_app_url,
        "task_app_api_key": request.task_app_api_key.get_secret_value(),
        "app_id": "engine-bench",
        "env_name": request.benchmark,
        "seeds": list(request.seeds),
        "policy_config": request.policy.model_dump(mode="json"),
        "env_config": {
            "benchmark": request.benchmark,
            "split": request.split,
            "run_id": request.run_id,
            **({"others": request.others} if request.others else {}),
            **({"rescore": request.rescore} if request.rescore else {}),
        },
        "concurrency": request.max_concurrent,
        "timeout": request.rollout_timeout,
    }


class _Answer(BaseModel):
    """Part of a foreign answer: what it does not tell may be missing or null, what is not known here is ignored."""

    model_config = ConfigDict(extra="ignore")

    @model_validator(mode="before")
    @classmethod
    def _null_is_missing(cls, answer: Any) -> Any:
        return (
            {name: value for name, value in answer.items() if value is not None} if isinstance(answer, dict) else answer
        )


class RolloutDetails(_Answer):
    """What our task app tells beyond the reward; another one may tell none of it."""

    instance: str | None = None
    seed: int | None = None
    attempt: int | None = None
    agent: str | None = None
    model: str | None = None
    tests_passed: int | None = None
    tests_total: int | None = None
    failure: RowError | None = None
    phases: dict[str, float] = Field(default_factory=dict)
    turns: int | None = None
    tokens: int | None = None
    cost_usd: float | None = None


class RewardInfo(_Answer):
    outcome_reward: float | None = Field(default=None, strict=True, ge=0, le=1, allow_inf_nan=False)
    details: RolloutDetails = Field(default_factory=RolloutDetails)


class RolloutReply(_Answer):
    """What is read of a task app's answer to a finished rollout."""

    trace_correlation_id: str
    reward_info: RewardInfo
    trace: dict[str, Any] | None = None
    artifact: list[Artifact] = Field(default_factory=list)
    success_status: Literal["success", "infrastructure_failure", "cancelled"] = "success"
    status_detail: str | None = None

    def row(self, seed: int, latency_ms: float) -> Row:
        """The rollout's row; without a reward unless it is a success."""
        details, scored = self.reward_info.details, self.success_status == "success"
        return Row(
            seed=seed,
            correlation_id=self.trace_correlation_id,
            instance_seed=details.seed,
            reward=self.reward_info.outcome_reward if scored else None,
            error=details.failure if scored else self.failure(),
            infrastructure_failure=not scored,
            latency_ms=latency_ms,
            **details.model_dump(exclude={"seed", "failure"}),
        )

    def failure(self) -> RowError:
        """Why there is no reward."""
        message = self.status_detail or f"The task app ended the rollout with {self.success_status}."
        return self.reward_info.details.failure or RowError(kind=self.success_status, message=message)

    def artifacts(self) -> list[Artifact]:
        """What the rollout left behind, its trace included; one for each name."""
        files = {artifact.name: artifact for artifact in self.artifact}
        if self.trace is not None:
            files["trace.json"] = Artifact(name="trace.json", content=json.dumps(self.trace))
        return list(files.values())


def result_of(row: Row) -> dict[str, Any]:
    """A row as `GET /api/eval/jobs/{id}/results` lists it."""
    return {
        "seed": row.seed,
        "trial_id": row.correlation_id,
        "correlation_id": row.correlation_id,
        "trace_id": row.correlation_id,
        "reward": row.reward,
        "local_api_reward": row.reward,
        "verifier_reward": None,
        "event_reward": None,
        "latency_ms": row.latency_ms,
        "tokens": row.tokens,
        "cost_usd": row.cost_usd,
        "error": f"{row.error.kind}: {row.error.message}" if row.error and row.infrastructure_failure else None,
        "details": row.model_dump(mode="json"),
    }


def row_from_result(result: dict[str, Any], run_id: str) -> Row:
    """The row that a result stands for; without our details it is mapped as far as it goes.

    A result with an error was not scored, whatever its reward says; a reward of 0.0 is a reward.

    Raises:
        ValueError: it has no seed.
    """
    seed = result.get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ValueError(f"a result without a seed: {sorted(result)}")
    details = result.get("details")
    if isinstance(details, dict) and details.get("seed") == seed and "correlation_id" in details:
        try:
            return Row.model_validate(details)
        except ValidationError:
            return Row.infrastructure(
                seed, rollout_id(run_id, seed), "protocol", "The eval service sent an unreadable row."
            )
    return _foreign_row(seed, result, run_id)


def _foreign_row(seed: int, result: dict[str, Any], run_id: str) -> Row:
    correlation_id = str(result.get("correlation_id") or rollout_id(run_id, seed))
    known = {name: _number(result.get(name)) for name in ("tokens", "cost_usd", "latency_ms")}
    known["tokens"] = int(known["tokens"]) if known["tokens"] is not None else None
    if error := result.get("error"):
        return Row.infrastructure(seed, correlation_id, "eval_service", str(error), **known)
    names = ("reward", "score", "local_api_reward", "outcome_reward")
    given = next((result[name] for name in names if result.get(name) is not None), None)
    reward = _number(given)
    if reward is None or not 0 <= reward <= 1:
        message = f"The eval service sent no valid reward (0..1) but {given!r}."
        return Row.infrastructure(seed, correlation_id, "invalid_reward", message, **known)
    return Row(seed=seed, correlation_id=correlation_id, reward=reward, **known)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
