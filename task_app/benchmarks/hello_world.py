"""hello-world: can the agent write one file in a workspace? It needs no compiler, so it tells plumbing from skill."""

import shutil
from pathlib import Path, PurePosixPath

from task_app.benchmarks.base import NO_CACHE, BenchmarkError, Instance, InstanceSet, ReferenceFile, Task, Work
from task_app.build_cache import BuildCache
from task_app.grade import Failure, FailureKind, Grade
from task_app.isolation import Isolation
from task_app.prompts import render

GREETING = "Hello, world!"
FILE = PurePosixPath("hello.txt")


class HelloWorld:
    """A folder `workspace` whose README.md asks for a file with a greeting. Reward: 1 if it is there, else 0."""

    tools: tuple[str, ...] = ()

    def __init__(self, folder: Path, name: str, description: str) -> None:
        self._workspace = folder / "workspace"
        if not (self._workspace / "README.md").is_file():
            raise BenchmarkError(
                f"{self._workspace / 'README.md'} is missing: hello-world expects the task's text there."
            )
        self.name = name
        self.description = description
        self._instances = InstanceSet(
            name,
            [
                Instance(
                    id="hello-world",
                    split="hello",
                    difficulty=0,
                    title="Hello, world",
                    description=f"Write {GREETING!r} to {FILE}.",
                    data={"file": str(FILE), "content": GREETING},
                )
            ],
        )

    @property
    def splits(self) -> tuple[str, ...]:
        return self._instances.splits

    def instances(self, split: str | None = None) -> tuple[Instance, ...]:
        return self._instances.of(split)

    def prepare(self, instance: Instance, workspace: Path) -> Task:
        shutil.copytree(self._workspace, workspace, dirs_exist_ok=True)
        prompt = render("hello_world.md", file=FILE, greeting=GREETING)
        return Task(prompt=prompt, workspace=workspace, file=FILE, stub="", tests_total=1)

    def reference(self, instance: Instance) -> ReferenceFile:
        return ReferenceFile(f"{GREETING}\n")

    def collect(self, task: Task) -> Work:
        return Work.of_file(task)

    def seal(self) -> None:
        """Nothing is secret: the task itself says what to write."""

    async def warm(self, work: Path, slots: int, isolation: Isolation, cache: BuildCache = NO_CACHE) -> None:
        """Nothing to warm."""

    async def grade(self, instance: Instance, work: Work) -> Grade:
        if work.source.strip() == GREETING:
            return Grade(reward=1.0, tests_passed=1, tests_total=1)
        failure = Failure(FailureKind.WRONG_ANSWER, f"{FILE} does not say {GREETING!r} and nothing else.")
        return Grade(reward=0.0, tests_passed=0, tests_total=1, failure=failure)

    async def close(self) -> None:
        """Nothing to end."""
