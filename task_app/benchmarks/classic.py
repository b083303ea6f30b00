"""EngineBench in its classic layout: implement a card in one file of a Rust crate."""

import asyncio
import json
from pathlib import Path

from task_app import source_rules
from task_app.benchmarks.base import NO_CACHE, Instance, InstanceSet, ReferenceFile, Task, Work, strip
from task_app.benchmarks.classic_files import KEPT, SCAFFOLD, SEALED, load
from task_app.benchmarks.scaffold import copy_scaffold, declarations
from task_app.build_cache import BuildCache
from task_app.errors import InfrastructureFailure
from task_app.grade import Grade
from task_app.grading import Grader, Submission
from task_app.isolation import Isolation
from task_app.prompts import render


class Classic:
    """All that is secret is read into memory when it is made, and never copied to where an agent works.

    Raises:
        BenchmarkError: a file is missing or broken.
    """

    tools: tuple[str, ...] = ("cargo", "rustc")

    def __init__(self, folder: Path, name: str, description: str) -> None:
        self.name = name
        self.description = description
        self._folder = folder
        self._scaffold = folder / SCAFFOLD
        self._classic = load(folder)
        self._instances = InstanceSet(name, [classic.public for classic in self._classic.values()])
        self._grader: Grader | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        return self._instances.splits

    def instances(self, split: str | None = None) -> tuple[Instance, ...]:
        return self._instances.of(split)

    def prepare(self, instance: Instance, workspace: Path) -> Task:
        """The workspace is the whole crate with the stub in its place, and after `warm` with its dependencies, too."""
        classic = self._classic[instance.id]
        copy_scaffold(self._grader.crate if self._grader else self._scaffold, workspace)
        for path, text in {**declarations(workspace, classic.file), str(classic.file): classic.stub}.items():
            (workspace / path).parent.mkdir(parents=True, exist_ok=True)
            (workspace / path).write_text(text)
        prompt = render(
            "classic.md",
            title=instance.title,
            file=classic.file,
            rules=source_rules.SUMMARY.rstrip(),
            cards=json.dumps(instance.data["cards"], indent=2, ensure_ascii=False),
            tests="\n".join(f"- `{test['name']}`: {test['description']}" for test in instance.data["tests"]),
        )
        return Task(
            prompt=prompt,
            workspace=workspace,
            file=classic.file,
            stub=classic.stub,
            tests_total=len(classic.test_names),
        )

    def reference(self, instance: Instance) -> ReferenceFile | None:
        text = self._classic[instance.id].reference
        return None if text is None else ReferenceFile(text)

    def collect(self, task: Task) -> Work:
        return Work.of_file(task)

    def seal(self) -> None:
        """The crate stays: it is what agents are given anyway."""
        strip(self._folder, KEPT)
        (self._folder / SEALED).touch()

    async def warm(self, work: Path, slots: int, isolation: Isolation, cache: BuildCache = NO_CACHE) -> None:
        self._grader = Grader(self._scaffold, work / "grading", slots=slots, isolation=isolation, cache=cache)
        await self._grader.warm()

    async def grade(self, instance: Instance, work: Work) -> Grade:
        if self._grader is None:
            raise InfrastructureFailure(f"Benchmark {self.name} was not made ready to grade.")
        classic = self._classic[instance.id]
        submission = Submission(
            card_file=str(classic.file),
            source=work.source,
            tests=classic.tests,
            overrides=await asyncio.to_thread(declarations, self._scaffold, classic.file),
            stub=classic.stub,
        )
        return await self._grader.grade(submission)

    async def close(self) -> None:
        if self._grader is not None:
            await self._grader.close()
