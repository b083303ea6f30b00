"""What the rooms around evals hand in and get back: an eval request, its rows, its outcome."""

import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

JobStatus = Literal["pending", "running", "completed", "failed", "cancelled"]

TERMINAL: frozenset[JobStatus] = frozenset({"completed", "failed", "cancelled"})

INTERRUPTED = "interrupted"
"""How the error of a job begins whose eval service ended before the job did."""

MISSING = "missing"
"""Kind of the error of a row that is made up, since the eval service sent none for its seed."""


def rollout_id(run_id: str, seed: int) -> str:
    """The correlation id of a rollout: the same for every job of its run, so that none is paid for twice."""
    return f"{run_id}-{seed}"


class Policy(BaseModel):
    """Who works on the instances; further fields are passed on to the task app as they are."""

    model_config = ConfigDict(extra="allow", frozen=True)

    agent: str
    model: str | None = None
    timeout: float = Field(default=600, gt=0)
    """Seconds of wall clock for the agent."""


class EvalRequest(BaseModel):
    """A set of seeds x one policy, to be run on one task app."""

    model_config = ConfigDict(frozen=True)

    task_app_url: str
    task_app_api_key: SecretStr
    task_app_headers: Mapping[str, SecretStr] = Field(default_factory=dict)
    """What else gets a call through to the task app, e.g. the token of a preview proxy. Embedded eval service only."""
    run_id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,149}$")
    """Rollouts are identified by run and seed: what this run has scored is never run again."""
    benchmark: str
    split: str | None = None
    seeds: list[int] = Field(min_length=1)
    """Wire seeds: instance index within the split + attempt * number of instances."""
    others: list[int] = Field(default_factory=list)
    """Seeds of the run's other jobs. Whatever of them nobody works on is run here once this job has none left, so that
    a slow task app does not hold up the run. Embedded eval service only."""
    rescore: str | None = None
    """Id of a run of which the stored final code is graded again, in place of running agents. Embedded eval service
    only."""
    policy: Policy
    max_concurrent: int = Field(default=1, ge=1)
    """Rollouts at a time; more than the task app has slots for only makes them queue there."""
    grading_allowance: float = Field(default=300, ge=0)
    """Seconds that a rollout may take beyond its agent's timeout: queueing, preparing, compiling, testing."""

    @property
    def rollout_timeout(self) -> float:
        """Seconds after which a rollout that has not answered counts as an infrastructure failure."""
        return self.policy.timeout + self.grading_allowance

    @field_validator("task_app_url")
    @classmethod
    def _no_credentials_in_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("must be an http(s) URL, e.g. http://127.0.0.1:8017")
        if "@" in parts.netloc:
            raise ValueError("must not hold credentials; pass them in task_app_headers")
        return url.rstrip("/")

    @field_validator("seeds")
    @classmethod
    def _wire_seeds(cls, seeds: list[int]) -> list[int]:
        if min(seeds) < 0 or len(set(seeds)) != len(seeds):
            raise ValueError("must be distinct and not negative")
        return seeds


class RowError(BaseModel):
    """Why a rollout is not solved, or could not be scored."""

    model_config = ConfigDict(frozen=True)

    kind: str
    message: str


class Row(BaseModel):
    """One rollout's result."""

    model_config = ConfigDict(frozen=True)

    seed: int
    """The wire seed."""
    correlation_id: str
    instance: str | None = None
    instance_seed: int | None = None
    """Index of the instance within the split."""
    attempt: int | None = None
    reward: float | None = Field(default=None, strict=True, ge=0, le=1, allow_inf_nan=False)
    """None where the rollout was not scored; never None where it was."""
    tests_passed: int | None = None
    tests_total: int | None = None
    error: RowError | None = None
    infrastructure_failure: bool = False
    phases: dict[str, float] = Field(default_factory=dict)
    """Seconds by phase."""
    agent: str | None = None
    model: str | None = None
    turns: int | None = None
    tokens: int | None = None
    cost_usd: float | None = None
    latency_ms: float | None = None
    """From asking for the rollout to its answer, retries included."""

    @classmethod
    def infrastructure(cls, seed: int, correlation_id: str, kind: str, message: str, **known: Any) -> "Row":
        """The row of a rollout that could not be scored."""
        error = RowError(kind=kind, message=message)
        return cls(seed=seed, correlation_id=correlation_id, error=error, infrastructure_failure=True, **known)


class Artifact(BaseModel):
    """A text file that a rollout leaves behind."""

    model_config = ConfigDict(frozen=True)

    name: str
    """A plain file name: whatever else a task app sends is made one."""
    content: str

    @field_validator("name")
    @classmethod
    def _plain_file_name(cls, name: str) -> str:
        return re.sub(r"[^A-Za-z0-9._-]", "_", name).lstrip(".")[-100:] or "unnamed"


class Progress(BaseModel):
    """How far a job is."""

    model_config = ConfigDict(frozen=True)

    completed: int
    total: int
    mean_reward: float | None = None
    """None as long as nothing is scored."""


class Outcome(BaseModel):
    """How a job ended. There is one row for each seed asked for, whatever became of it."""

    model_config = ConfigDict(frozen=True)

    job_id: str
    status: JobStatus
    rows: list[Row]
    error: str | None = None

    @property
    def interrupted(self) -> bool:
        """Whether the eval service ended before the job did; a new job of the same run completes it."""
        return self.status == "failed" and (self.error or "").startswith(INTERRUPTED)
