"""What the task app is told at its start, through a file that it removes once read.

Keys never travel by environment variables or command lines, where the agents' processes could read them.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from task_app.build_cache import DEFAULT_LIMIT
from task_app.errors import TaskAppError

HOME = Path(__file__).resolve().parent.parent
"""The folder that the bundle was unpacked into."""


class SettingsError(TaskAppError):
    """The task app can't start with what it was given; the message never shows a value."""


class Settings(BaseModel):
    """Field by field what the environment file says; the alias is the name used there."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    api_key: SecretStr = Field(alias="ENVIRONMENT_API_KEY", min_length=1)
    """What a caller must send as `X-API-Key`."""

    nonce: str = Field(alias="ENGINE_BENCH_NONCE", min_length=1)
    """Shown by `/health`, so that a caller knows this task app for the one that it started. Not a secret."""

    benchmark: Path = Field(default=HOME / "benchmark", alias="ENGINE_BENCH_BENCHMARK")
    """The folder of the unpacked benchmark."""

    benchmark_name: str | None = Field(default=None, alias="ENGINE_BENCH_BENCHMARK_NAME", min_length=1)
    """What the benchmark is called; default: the name it gives itself."""

    image_app: Path | None = Field(default=None, alias="ENGINE_BENCH_IMAGE_APP")
    """Where the task app runs in the image of a Harbor benchmark's tasks: that image's /app."""

    slots: int = Field(default=1, ge=1, le=64, alias="ENGINE_BENCH_SLOTS")
    """Rollouts at a time; further ones wait."""

    work: Path = Field(default=HOME / "work", alias="ENGINE_BENCH_WORK")
    """Where agent workspaces and grading slots are made."""

    seal: bool = Field(default=False, alias="ENGINE_BENCH_SEAL")
    """Remove reference solutions and hidden tests from `benchmark` once they are in memory. For a private copy only."""

    build_cache: Path | None = Field(default=None, alias="ENGINE_BENCH_BUILD_CACHE")
    """A private folder of this machine where builds are kept for later sandboxes; none: nothing is kept."""

    build_cache_limit: int = Field(default=DEFAULT_LIMIT, gt=0, alias="ENGINE_BENCH_BUILD_CACHE_LIMIT")
    """Bytes."""

    agent_environment: dict[str, SecretStr] = Field(default_factory=dict)
    """Every other name of the file: provider keys and the like, for the agents alone."""


def read_env_file(path: Path) -> Settings:
    """The settings in a file of lines `NAME=value`, which is removed. A value goes verbatim to the end of its line.

    Raises:
        SettingsError: the file is not there, others could have read it, or it does not hold what is needed.
    """
    text = _take_private_file(path)
    own = {str(field.alias) for field in Settings.model_fields.values() if field.alias}
    values: dict[str, object] = {}
    others: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line:
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.isidentifier():
            raise SettingsError(f"{path}, line {number}: expected NAME=value.")
        if name.startswith("ENGINE_BENCH_") and name not in own:
            raise SettingsError(f"{path}, line {number}: {name} is no setting of the task app. Settings: {_list(own)}.")
        (values if name in own else others)[name] = value
    return _validate(path, {**values, "agent_environment": others})


def _validate(path: Path, values: Mapping[str, object]) -> Settings:
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
    # Raised outside of the handler: the validation error holds the values, and a traceback would show them.
    raise SettingsError(f"{path} does not hold what the task app needs. {problems}.")


def _take_private_file(path: Path) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SettingsError(f"The environment file {path} can't be read: {error.strerror}.") from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or stat.S_IMODE(status.st_mode) != 0o600:
            raise SettingsError(
                f"The environment file {path} holds keys, so it must be a regular file of mode 0600, "
                f"but its mode is {stat.filemode(status.st_mode)}. Write it anew with mode 0600."
            )
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read()
    finally:
        os.close(descriptor)
    path.unlink()
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise SettingsError(f"The environment file {path} is not UTF-8 text.") from None


def _list(names: set[str]) -> str:
    return ", ".join(sorted(names))
