"""Reads `task.toml` of the Harbor layout, schema 1.x (https://www.harborframework.com/docs/tasks).

What would change what a task means and is not supported here is refused by name, never passed over.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from task_app.benchmarks.base import BenchmarkError

NetworkMode = Literal["public", "no-network"]

_UNSUPPORTED = {
    "steps": "tasks of several steps",
    "artifacts": "artifacts",
    "environment.gpus": "graphics processors",
    "environment.gpu_types": "graphics processors",
    "environment.mcp_servers": "MCP servers",
    "environment.skills_dir": "skills",
    "environment.allowed_hosts": "lists of allowed hosts",
    "agent.allowed_hosts": "lists of allowed hosts",
    "verifier.allowed_hosts": "lists of allowed hosts",
    "verifier.environment": "a verifier in an environment of its own",
    "verifier.environment_mode": "a verifier in an environment of its own",
    "verifier.collect": "collect hooks",
}
"""By dotted key; fine where the value says that there is none."""

_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")
_MOST_USERS = 65_536
"""A container may have no more."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_SIZE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[KMG])", re.IGNORECASE)
_MIB = {"K": 1 / 1024, "M": 1, "G": 1024}


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Phase(_Section):
    user: str | int | None = None
    """Never root. A number is who it runs as, where we may choose that; a name is one that it goes by."""
    network_mode: NetworkMode | None = None
    """None: as the environment says."""

    @field_validator("user")
    @classmethod
    def _without_privilege(cls, user: str | int | None) -> str | int | None:
        if user is None:
            return user
        text = str(user)
        number = int(text) if text.isdecimal() else None
        if text == "root" or number == 0:
            raise ValueError(f"no jail has the rights of {text}; name another user, or none")
        if not (_NAME.fullmatch(text) if number is None else number < _MOST_USERS):
            raise ValueError(f"{text!r} is no user: expected a name, or a number below {_MOST_USERS}")
        return user

    @property
    def uid(self) -> int | None:
        """Where a number is given."""
        return int(self.user) if self.user is not None and str(self.user).isdecimal() else None

    @property
    def account(self) -> dict[str, str]:
        """The variables that tell a program its user."""
        return {} if self.user is None else {"USER": str(self.user), "LOGNAME": str(self.user)}


class Agent(_Phase):
    timeout_sec: float | None = Field(default=None, gt=0)


class Verifier(_Phase):
    timeout_sec: float = Field(default=600, gt=0)
    env: dict[str, str] = Field(default_factory=dict)


class Solution(_Section):
    env: dict[str, str] = Field(default_factory=dict)


class Healthcheck(_Section):
    """As of Docker's HEALTHCHECK; run before the agent begins."""

    command: str
    interval_sec: float = Field(default=5, ge=0)
    timeout_sec: float = Field(default=30, gt=0)
    start_period_sec: float = Field(default=0, ge=0)
    start_interval_sec: float = Field(default=5, ge=0)
    retries: int = Field(default=3, ge=1)


class Environment(_Section):
    build_timeout_sec: float | None = Field(default=None, gt=0)
    """Seconds, where the image is built; None: what the backend allows."""
    docker_image: str | None = None
    cpus: int = Field(default=1, ge=1)
    memory_mb: int = Field(default=2048, ge=1, validation_alias=AliasChoices("memory_mb", "memory"))
    storage_mb: int = Field(default=10_240, ge=1, validation_alias=AliasChoices("storage_mb", "storage"))
    allow_internet: bool = True
    """Older way to say `network_mode`."""
    network_mode: NetworkMode | None = None
    os: Literal["linux"] = "linux"
    workdir: Literal["/app"] | None = None
    env: dict[str, str] = Field(default_factory=dict)
    healthcheck: Healthcheck | None = None

    @field_validator("memory_mb", "storage_mb", mode="before")
    @classmethod
    def _mebibytes(cls, value: Any) -> Any:
        """The older keys give text such as `4G`."""
        match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
        return int(float(match["number"]) * _MIB[match["unit"].upper()]) if match else value


class Package(BaseModel):
    """Who published the task, and as what."""

    name: str = ""
    description: str = ""


class Config(_Section):
    """One `task.toml`."""

    schema_version: str = Field(
        default="1.0", pattern=r"^1(\.\d+)*$", validation_alias=AliasChoices("schema_version", "version")
    )
    task: Package = Package()
    metadata: dict[str, Any] = Field(default_factory=dict)
    """Whatever the task's author likes."""
    source: str | None = None
    agent: Agent = Agent()
    verifier: Verifier = Verifier()
    solution: Solution = Solution()
    environment: Environment = Environment()

    @model_validator(mode="before")
    @classmethod
    def _refuse(cls, data: Any) -> Any:
        for key, what in _UNSUPPORTED.items():
            section, _, name = key.rpartition(".")
            found = data.get(section, {}) if section else data
            if isinstance(found, dict) and found.pop(name, None) not in (None, 0, [], {}, "shared"):
                raise ValueError(f"`{key}`: {what} are not supported here")
        return data

    def network(self, phase: Agent | Verifier) -> bool:
        """Whether a phase has the network."""
        environment = self.environment
        mode = phase.network_mode or environment.network_mode or ("public" if environment.allow_internet else None)
        return mode == "public"


def read(path: Path) -> Config:
    """Raises BenchmarkError, which names the file and the key, if it says what is not understood or not supported."""
    try:
        return Config.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise BenchmarkError(f"{path} is missing: expected the task's settings.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BenchmarkError(f"{path} can't be read as text ({error}): expected the task's settings.") from error
    except tomllib.TOMLDecodeError as error:
        raise BenchmarkError(f"{path} is no TOML: {error}.") from error
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(map(str, problem["loc"]))
        if problem["type"] == "extra_forbidden":
            raise BenchmarkError(f"{path}: `{key}` is not known, so it is not supported here.") from error
        said = problem["msg"].removeprefix("Value error, ")
        raise BenchmarkError(f"{path}: {f'`{key}`: ' if key else ''}{said}.") from error


def resolve(values: Mapping[str, str], variables: Mapping[str, str]) -> dict[str, str]:
    """The values with each `${NAME}` and `${NAME:-default}` replaced; a default stands in for an empty variable, too.

    Raises:
        KeyError: a variable without a default is not set.
    """

    def replace(match: re.Match[str]) -> str:
        if match["default"] is None:
            return variables[match["name"]]
        return variables.get(match["name"]) or match["default"]

    return {name: _VARIABLE.sub(replace, value) for name, value in values.items()}
