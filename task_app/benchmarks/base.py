"""What a benchmark is to the task app, and to whoever plans a run. No HTTP, no agents."""

import shutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from task_app.build_cache import BuildCache
from task_app.collect import collect
from task_app.errors import InvalidRequest, TaskAppError
from task_app.grade import Grade
from task_app.isolation import WORKSPACE, Isolation

EASY, HARD = "easy", "hard"
NO_CACHE = BuildCache()


class BenchmarkError(TaskAppError):
    """A benchmark can't be read; the message names the file and what was expected of it."""


class Instance(BaseModel):
    """One task, as far as anybody may know it: nothing here comes from the reference solution or the hidden tests."""

    model_config = ConfigDict(frozen=True)

    id: str
    split: str
    difficulty: int = Field(ge=0)
    """A score to rank by, with no unit."""
    title: str
    description: str
    data: Mapping[str, Any] = Field(default_factory=dict)
    """The instance's own specification, e.g. the cards to implement."""


@dataclass(frozen=True)
class Task:
    """One instance laid out in a workspace for an agent."""

    prompt: str
    workspace: Path
    file: PurePosixPath
    """The file to write, relative to the workspace: all that will be graded, unless `pristine` says more."""
    stub: str
    """What stands in the file at the start; empty if there is no file yet."""
    tests_total: int
    """How many hidden tests there are."""
    place: Path = WORKSPACE
    """Where an agent whose jail has a root of its own finds the workspace."""
    timeout: float | None = None
    """Seconds that the task itself allows an agent, where it says so; the policy may allow fewer."""
    internet: bool = True
    """Whether an agent may be let onto the internet, as far as the task is concerned; the policy may not let it."""
    uid: int | None = None
    """The user that the task wants its agent to be, where jails have a root of their own; None for anybody."""
    account: Mapping[str, str] = field(default_factory=dict)
    """Variables that tell the agent its user, where the task names one."""
    pristine: Mapping[str, str] | None = None
    """Where every change of the workspace counts: what tells its files at the start apart, by relative path."""


@dataclass(frozen=True)
class StoredFile:
    """A file that is kept in memory."""

    content: bytes = field(repr=False)
    executable: bool

    def write(self, path: Path) -> None:
        """Make the file, with the folders that it lies in."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.content)
        path.chmod(0o755 if self.executable else 0o644)


@dataclass(frozen=True)
class Work:
    """What an agent left, read out of the workspace once it was done."""

    source: str
    """The text of the file to write; where every change counts, a list of what changed."""
    changes: Mapping[str, StoredFile | None] = field(default_factory=dict, repr=False)
    """Where every change counts: new files by path relative to the workspace, None for what was removed."""

    @classmethod
    def of_file(cls, task: Task) -> "Work":
        """The file to write alone. Raises UnusableSource if there is no such text file."""
        return cls(collect(task.workspace, task.file))


class Reference(Protocol):
    """A reference solution. For the agent `gold` alone."""

    async def apply(self, task: Task) -> None:
        """Solve the task in its workspace. Raises InfrastructureFailure if that can't be done."""
        ...


@dataclass(frozen=True)
class ReferenceFile:
    """A reference solution that is the text of the file to write."""

    text: str = field(repr=False)

    async def apply(self, task: Task) -> None:
        (task.workspace / task.file).write_text(self.text)


class Benchmark(Protocol):
    """A set of instances with a way to prepare and grade one. Opening one reads files and starts nothing."""

    name: str
    description: str
    tools: tuple[str, ...]
    """Binaries that grading needs, e.g. `cargo`."""

    @property
    def splits(self) -> tuple[str, ...]:
        """All names that `instances` takes."""
        ...

    def instances(self, split: str | None = None) -> tuple[Instance, ...]:
        """Sorted by id, never empty; None for all. Raises InvalidRequest for a split that is not there."""
        ...

    def prepare(self, instance: Instance, workspace: Path) -> Task:
        """Fill the workspace, an empty folder. Blocks; call it in a thread."""
        ...

    def reference(self, instance: Instance) -> Reference | None:
        """None where there is none."""
        ...

    def collect(self, task: Task) -> Work:
        """Read what an agent left, which may be anything. Blocks; call it in a thread.

        Raises:
            UnusableSource: nothing that could be graded is there.
        """
        ...

    def seal(self) -> None:
        """Remove all from the disk that agents need not be given: from now on secrets are in memory alone.

        For a private copy. Raises BenchmarkError if it is somebody's clone.
        """
        ...

    async def warm(self, work: Path, slots: int, isolation: Isolation, cache: BuildCache = NO_CACHE) -> None:
        """Make ready to grade `slots` submissions at a time in the folder `work`; needed before `grade`.

        Raises:
            InfrastructureFailure: a tool is missing, or what the agents start from does not build.
        """
        ...

    async def grade(self, instance: Instance, work: Work) -> Grade:
        """Score what an agent left, in a place where it never was. Raises InfrastructureFailure if it can't be done."""
        ...

    async def close(self) -> None:
        """End what `warm` and `grade` started. Fine if they never ran."""
        ...


def strip(copy: Path, kept: Collection[str]) -> None:
    """Remove all entries but these from a folder of a private copy: a clone may hold solutions in more places than one.

    Raises:
        BenchmarkError: it is somebody's clone.
    """
    if (copy / ".git").exists():
        raise BenchmarkError(f"{copy} is a clone, from which nothing is removed. Seal a copy without its .git.")
    for entry in copy.iterdir():
        if entry.name in kept:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


class InstanceSet:
    """Instances by split: one split for each `Instance.split`, and `easy` / `hard` for the halves by difficulty."""

    def __init__(self, benchmark: str, instances: Iterable[Instance]) -> None:
        self._benchmark = benchmark
        self._all = tuple(sorted(instances, key=_by_id))
        self._by_split = _split(self._all)

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(self._by_split)

    def of(self, split: str | None) -> tuple[Instance, ...]:
        """Sorted by id; None for all.

        Raises:
            InvalidRequest: no such split.
        """
        if split is None:
            return self._all
        try:
            return self._by_split[split]
        except KeyError:
            raise InvalidRequest(
                f"Benchmark {self._benchmark} has no split {split!r}. Splits: {', '.join(self._by_split)}."
            ) from None


def _split(instances: tuple[Instance, ...]) -> dict[str, tuple[Instance, ...]]:
    ranked = sorted(instances, key=lambda instance: (instance.difficulty, instance.id))
    middle = (len(ranked) + 1) // 2  # of an odd number the one in the middle counts as easy
    members: dict[str, list[Instance]] = {name: [] for name in sorted({instance.split for instance in instances})}
    for instance in instances:
        members[instance.split].append(instance)
    members |= {EASY: ranked[:middle], HARD: ranked[middle:]}
    return {name: tuple(sorted(some, key=_by_id)) for name, some in members.items() if some}


def _by_id(instance: Instance) -> str:
    return instance.id
