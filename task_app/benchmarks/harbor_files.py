"""Reads the Harbor layout: a folder of tasks, each with what it asks, its environment, its solution and its tests.

[tasks/]<id>/task.toml          settings
             instruction.md     what the agent is told
             environment/       what its image is built from
             solution/solve.sh  applies the reference solution; for the agent `gold` alone
             tests/test.sh      scores what an agent left; not there before the agent is done
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from task_app import rust
from task_app.benchmarks import harbor_toml
from task_app.benchmarks.base import BenchmarkError, Instance, StoredFile, strip
from task_app.benchmarks.classic_files import difficulty
from task_app.benchmarks.harbor_toml import Config

SEALED = "harbor.sealed"
"""Stands in the benchmark's folder once reference solutions and hidden tests were removed."""

_KEPT = ("harbor-root", "benchmark.json")
_KEPT_OF_TASK = ("task.toml", "instruction.md", "environment")
_CANARY = re.compile(r"^.*(?:\bcanary\b|SHOULD NEVER APPEAR IN TRAINING).*\n?", re.IGNORECASE | re.MULTILINE)
_FILE_TO_EDIT = re.compile(r"\bedit the file `(?:/app/)?(?P<path>[^`]+)`", re.IGNORECASE)
_CARDS = re.compile(r"^```json\n(?P<cards>.*?)^```", re.DOTALL | re.MULTILINE)
_TESTS = re.compile(r"^## Tests to Pass\n(?P<tests>(?:- .*\n)+)", re.MULTILINE)
_RANKS = {"easy": 1, "medium": 2, "hard": 3}
_ENGINE_BENCH = "engine-bench"


@dataclass(frozen=True)
class HarborTask:
    """A task with its secrets."""

    public: Instance
    config: Config
    instruction: str
    environment: Path
    solution: Mapping[str, StoredFile]
    tests: Mapping[str, StoredFile]
    """By path relative to their folders."""
    file: PurePosixPath | None
    """The one file that the instruction allows to be edited, relative to /app; None where all of /app counts."""

    @property
    def unit_tests(self) -> str | None:
        """Of a task of EngineBench: the module of tests that belongs at the end of the file."""
        sources = [stored.content.decode() for name, stored in self.tests.items() if name.endswith(".rs")]
        is_card = self.config.metadata.get("benchmark") == _ENGINE_BENCH and self.file is not None
        return sources[0] if is_card and len(sources) == 1 and rust.test_names(sources[0]) else None

    @property
    def tests_total(self) -> int:
        """How many tests there are, as far as one can tell; one where the verifier alone knows."""
        names = [name for stored in self.tests.values() for name in rust.test_names(stored.content.decode("latin-1"))]
        return len(names) or 1


def tasks_folder(folder: Path) -> Path | None:
    """Where a folder has its tasks: in itself, in `tasks`, or in `<one folder>/tasks`; None if nowhere."""
    candidates = [folder, folder / "tasks", *sorted(folder.glob("*/tasks"))]
    return next((candidate for candidate in candidates if any(candidate.glob("*/task.toml"))), None)


def load(folder: Path) -> dict[str, HarborTask]:
    """All tasks by id.

    Raises:
        BenchmarkError: a file is missing, not what was expected, or asks for what is not supported; names it.
    """
    if (folder / SEALED).exists():
        raise BenchmarkError(
            f"The reference solutions and hidden tests of {folder} were removed when a task app started on it. "
            "Upload the benchmark again."
        )
    tasks = tasks_folder(folder)
    if tasks is None:
        raise BenchmarkError(f"{folder} holds no task: expected <id>/task.toml in it, or in its folder `tasks`.")
    return {path.parent.name: _load_one(path.parent) for path in sorted(tasks.glob("*/task.toml"))}


def seal(folder: Path) -> None:
    """Remove what only memory may hold from now on. Raises BenchmarkError if it is somebody's clone."""
    tasks = tasks_folder(folder)
    assert tasks is not None
    names = [path.parent.name for path in tasks.glob("*/task.toml")]
    outermost_first = [parent for parent in reversed(tasks.parents) if parent.is_relative_to(folder)]
    for outer, inner in pairwise([*outermost_first, tasks]):
        strip(outer, [inner.name, *_KEPT])
    strip(tasks, [*names, *_KEPT])
    for name in names:
        strip(tasks / name, _KEPT_OF_TASK)
    (folder / SEALED).touch()


def _load_one(folder: Path) -> HarborTask:
    config = harbor_toml.read(folder / "task.toml")
    if composed := next((folder / "environment").glob("docker-compose.y*ml"), None):
        raise BenchmarkError(f"{composed}: environments of several containers are not supported here.")
    instruction = _instruction(folder / "instruction.md")
    tests = _stored(folder / "tests")
    if "test.sh" not in tests:
        raise BenchmarkError(f"{folder / 'tests/test.sh'} is missing: expected the script that scores the task.")
    solution = _stored(folder / "solution")
    if solution and "solve.sh" not in solution:
        raise BenchmarkError(f"{folder / 'solution/solve.sh'} is missing: expected what applies the solution.")
    return HarborTask(
        public=_public(folder.name, config, instruction),
        config=config,
        instruction=instruction,
        environment=folder / "environment",
        solution=solution,
        tests=tests,
        file=_file_to_edit(instruction),
    )


def _instruction(path: Path) -> str:
    """Without the lines that tell crawlers to stay away: they are no part of the task."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BenchmarkError(f"{path} is missing: expected what the agent is told.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BenchmarkError(f"{path} can't be read as text ({error}): expected what the agent is told.") from error
    instruction = _CANARY.sub("", text).strip()
    if not instruction:
        raise BenchmarkError(f"{path} says nothing: expected what the agent is told.")
    return f"{instruction}\n"


def _stored(folder: Path) -> dict[str, StoredFile]:
    return {
        str(path.relative_to(folder)): StoredFile(path.read_bytes(), bool(path.stat().st_mode & 0o100))
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _file_to_edit(instruction: str) -> PurePosixPath | None:
    match = _FILE_TO_EDIT.search(instruction)
    path = PurePosixPath(match["path"]) if match else None
    return path if path and not path.is_absolute() and ".." not in path.parts else None


def _public(id: str, config: Config, instruction: str) -> Instance:
    metadata = config.metadata
    title = metadata.get("card_name") or config.task.name or id
    return Instance(
        id=id,
        split=str(metadata.get("set") or metadata.get("category") or "all").lower(),
        difficulty=_difficulty(metadata, instruction),
        title=str(title),
        description=config.task.description or f"Task {id}.",
        data={"instruction": instruction},
    )


def _difficulty(metadata: Mapping[str, Any], instruction: str) -> int:
    """The same as in the classic layout for a card, which the instruction shows with its tests."""
    cards, tests = _CARDS.search(instruction), _TESTS.search(instruction)
    if cards and tests:
        try:
            return difficulty(json.loads(cards["cards"]), tests["tests"].count("\n"))
        except (ValueError, TypeError, AttributeError):  # no list of cards, but something else that is JSON
            pass
    return _RANKS.get(str(metadata.get("difficulty")).lower(), 0)
