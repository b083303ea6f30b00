"""Context overrides: files, a script and variables that a request wants an agent to work with.

Each part is applied or refused by itself, and what became of it stands in the response, so that an optimizer can learn
from it. The limits are those of the Synth eval protocol.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from pydantic import SecretStr

from task_app.benchmarks.base import Task
from task_app.contracts import ContextOverride, OverridePart, OverrideResult

FILES = 20
FILE_SIZE = 1024 * 1024
"""Bytes."""
VARIABLES = 50
VALUE_LENGTH = 10 * 1024

_INSTRUCTIONS = "AGENTS.md"
_SKILLS = re.compile(r"(?:\.[a-z_]+/)?skills/(.+)")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED = re.compile(r"PATH|HOME|TMPDIR|LANG|SHELL|USER|LD_.*|.*_API_KEY|.*_BASE_URL|ENGINE_BENCH_.*")


class Overrides:
    """All overrides of one rollout, and what became of them. What an agent has no use for stays `skipped`."""

    def __init__(self, given: Sequence[ContextOverride] = ()) -> None:
        self._given = tuple(given)
        self.results = [_untouched(override, number) for number, override in enumerate(given)]
        """One for each override, in their order."""

    @property
    def secrets(self) -> list[SecretStr]:
        """What of their variables may not stand in anything that is kept."""
        return [secret for override in self._given for secret in override.secrets]

    @property
    def instructions(self) -> str:
        """The AGENTS.md, for agents that don't look for it in the workspace."""
        found = [override.file_artifacts.get(_INSTRUCTIONS, "") for override in self._given]
        return next(filter(None, reversed(found)), "")

    @property
    def skills(self) -> dict[str, str]:
        """Files of skills, by path below the folder that an agent has them in."""
        return {
            found[1]: content
            for override in self._given
            for path, content in override.file_artifacts.items()
            if (found := _SKILLS.fullmatch(path)) and ".." not in PurePosixPath(path).parts
        }

    def write_files(self, task: Task) -> None:
        """Write the files into the workspace, while nobody works there yet. Blocks."""
        for override, result in zip(self._given, self.results, strict=True):
            for number, (path, content) in enumerate(override.file_artifacts.items()):
                result.file_artifacts[path] = _written(task, path, content, number)

    def environment(self, taken: Mapping[str, str]) -> dict[str, str]:
        """The variables that may be set: none that is `taken`, and none that the rollout's safety rests on."""
        allowed = {}
        for override, result in zip(self._given, self.results, strict=True):
            for number, (name, value) in enumerate(override.env_vars.items()):
                part = result.env_vars[name] = _judged(name, value, number, taken)
                if part.status == "applied":
                    allowed[name] = value
        return allowed

    @property
    def scripts(self) -> list[tuple[str, OverrideResult]]:
        """The preflight scripts, each with the result to enter into what became of it."""
        return [
            (override.preflight_script, result)
            for override, result in zip(self._given, self.results, strict=True)
            if override.preflight_script is not None
        ]


def _untouched(override: ContextOverride, number: int) -> OverrideResult:
    skipped = OverridePart(status="skipped")
    return OverrideResult(
        override_id=override.override_id or f"override-{number}",
        file_artifacts=dict.fromkeys(override.file_artifacts, skipped),
        preflight_script=skipped if override.preflight_script is not None else None,
        env_vars=dict.fromkeys(override.env_vars, skipped),
    )


def _written(task: Task, name: str, content: str, number: int) -> OverridePart:
    raw, path = content.encode(), PurePosixPath(name)
    if number >= FILES:
        return OverridePart.refused("size_limit", f"There are more than {FILES} files.")
    if len(raw) > FILE_SIZE:
        return OverridePart.refused("size_limit", f"The file has more than {FILE_SIZE} bytes.")
    target = (task.workspace / path).resolve()
    if not name or not target.is_relative_to(task.workspace.resolve()) or target == task.workspace.resolve():
        return OverridePart.refused("path_traversal", "The path leads out of the workspace.")
    if target == (task.workspace / task.file).resolve():
        return OverridePart.refused("permission", "This is the file to be graded, which only the agent may write.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(raw)
    except OSError as error:
        return OverridePart.refused("runtime", f"The file can't be written: {error.strerror}.")
    return OverridePart(status="applied", bytes_written=len(raw))


def _judged(name: str, value: str, number: int, taken: Mapping[str, str]) -> OverridePart:
    if number >= VARIABLES:
        return OverridePart.refused("size_limit", f"There are more than {VARIABLES} variables.")
    if not _NAME.fullmatch(name) or "\0" in value:
        return OverridePart.refused("validation", "This is no environment variable.")
    if len(value) > VALUE_LENGTH:
        return OverridePart.refused("size_limit", f"The value has more than {VALUE_LENGTH} characters.")
    if name in taken or _RESERVED.fullmatch(name):
        return OverridePart.refused("permission", "The task app sets this variable itself.")
    return OverridePart(status="applied")
