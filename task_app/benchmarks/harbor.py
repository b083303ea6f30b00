"""Benchmarks in the Harbor layout, EngineBench's newer one among them.

A task is scored by its `test.sh`, in a fresh copy of its image to which only what the agent left in /app was brought. A
card of EngineBench is graded from its hidden tests by the grader of the classic layout instead: its `test.sh` would
take any line for a result that reads `9 passed`, also one that the submission has printed.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from task_app import source_rules
from task_app.benchmarks import harbor_files
from task_app.benchmarks.base import NO_CACHE, Instance, InstanceSet, Reference, Task, Work
from task_app.benchmarks.dockerfile import APP
from task_app.benchmarks.harbor_files import HarborTask
from task_app.benchmarks.harbor_place import Places, ending, write_all
from task_app.benchmarks.harbor_reward import VERIFIER, read_grade
from task_app.benchmarks.harbor_work import apply_changes, collect_changes, make_way, snapshot
from task_app.benchmarks.scaffold import blanked, declarations
from task_app.build_cache import BuildCache
from task_app.collect import UnusableSource, collect
from task_app.errors import InfrastructureFailure
from task_app.grade import Failure, FailureKind, Grade
from task_app.grading import Grader, Submission
from task_app.isolation import Isolation
from task_app.jail_root import Bind
from task_app.prompts import render

_CHANGES = PurePosixPath("changes.txt")
"""Stands for the file to write where all of /app counts: its text is the list of what changed."""
_SOLVE_TIMEOUT = 600

_T = TypeVar("_T")


@dataclass(frozen=True)
class _Outline:
    """What an agent starts from."""

    stub: str
    additions: dict[str, str]
    """Files beside the one to write in which the task's image differs from the others', by relative path."""


class Harbor:
    """All that is secret is read into memory when it is made, and never copied to where an agent works.

    Raises:
        BenchmarkError: a file is missing, broken, or asks for what is not supported.
    """

    def __init__(self, folder: Path, name: str, description: str) -> None:
        self.name = name
        self.description = description
        self._folder = folder
        self._tasks = harbor_files.load(folder)
        self._instances = InstanceSet(name, [task.public for task in self._tasks.values()])
        cards = any(task.unit_tests for task in self._tasks.values())
        self.tools: tuple[str, ...] = ("bash", "cargo", "rustc") if cards else ("bash",)
        self._outlines: dict[str, _Outline] = {}
        self._graders: dict[Path, Grader] = {}
        self._snapshots: dict[Path, dict[str, str]] = {}
        self._opened: tuple[Places, asyncio.AbstractEventLoop] | None = None

    @property
    def splits(self) -> tuple[str, ...]:
        return self._instances.splits

    def instances(self, split: str | None = None) -> tuple[Instance, ...]:
        return self._instances.of(split)

    @property
    def longest_verifier(self) -> float:
        """Seconds that a verifier may take."""
        return max(task.config.verifier.timeout_sec for task in self._tasks.values())

    def task(self, id: str) -> HarborTask:
        """An instance's task, with its secrets."""
        return self._tasks[id]

    def prepare(self, instance: Instance, workspace: Path) -> Task:
        """The workspace is /app. Programs of the task's image run on the loop that `warm` was called on."""
        task = self._tasks[instance.id]
        outline = self._on_loop(self._lay_out(task, workspace))
        prompt = task.instruction
        if task.unit_tests is not None:
            prompt = render("harbor_card.md", instruction=prompt.rstrip(), rules=source_rules.SUMMARY.rstrip())
        return Task(
            prompt=prompt,
            workspace=workspace,
            file=task.file or _CHANGES,
            stub=outline.stub,
            tests_total=task.tests_total,
            place=APP,
            timeout=task.config.agent.timeout_sec,
            internet=task.config.network(task.config.agent),
            uid=task.config.agent.uid,
            account=task.config.agent.account,
            pristine=snapshot(workspace) if task.file is None else None,
        )

    def reference(self, instance: Instance) -> Reference | None:
        task = self._tasks[instance.id]
        return _Solution(self, task) if task.solution else None

    def collect(self, task: Task) -> Work:
        return Work.of_file(task) if task.pristine is None else collect_changes(task)

    def seal(self) -> None:
        harbor_files.seal(self._folder)

    async def warm(self, work: Path, slots: int, isolation: Isolation, cache: BuildCache = NO_CACHE) -> None:
        places = Places(self._folder, work / "harbor", isolation, slots, cache)
        await places.open()
        self._opened = places, asyncio.get_running_loop()
        for task in self._tasks.values():
            image = await places.image(task)
            if task.unit_tests and image not in self._graders and (image / "Cargo.toml").is_file():
                folder = work / f"grading-{len(self._graders)}"
                self._graders[image] = Grader(image, folder, slots=slots, isolation=isolation, cache=cache)
                await self._graders[image].warm()

    async def grade(self, instance: Instance, work: Work) -> Grade:
        task = self._tasks[instance.id]
        grader = self._graders.get(await self.places.image(task))
        if task.unit_tests is None or grader is None:
            return await self._run_verifier(task, work)
        if instance.id not in self._outlines:
            with self.places.temporary() as folder:
                await self._lay_out(task, folder)
        outline = self._outlines[instance.id]
        return await grader.grade(
            Submission(
                card_file=str(task.file),
                source=work.source,
                tests=task.unit_tests,
                overrides=outline.additions,
                stub=outline.stub,
            )
        )

    async def close(self) -> None:
        for grader in self._graders.values():
            await grader.close()
        if self._opened is not None:
            await self.places.close()

    @property
    def places(self) -> Places:
        """Raises InfrastructureFailure before `warm`."""
        if self._opened is None:
            raise InfrastructureFailure(f"Benchmark {self.name} was not made ready.")
        return self._opened[0]

    def _on_loop(self, work: Coroutine[Any, Any, _T]) -> _T:
        if self._opened is None:
            work.close()
            raise InfrastructureFailure(f"Benchmark {self.name} was not made ready.")
        return asyncio.run_coroutine_threadsafe(work, self._opened[1]).result()

    async def _lay_out(self, task: HarborTask, app: Path) -> _Outline:
        """Fill an empty folder with what an agent finds in /app."""
        image = await self.places.image(task)
        await self.places.furnish(task, app)
        return await asyncio.to_thread(self._outline, task, app, image)

    def _outline(self, task: HarborTask, app: Path, image: Path) -> _Outline:
        try:
            stub = collect(app, task.file) if task.file else ""
        except UnusableSource:
            stub = ""
        if task.file is None or task.unit_tests is None:
            return _Outline(stub, {})
        stub = blanked(stub, task.unit_tests)
        declared = declarations(app, task.file) if image in self._graders else {}
        for name, text in {**declared, str(task.file): stub}.items():
            make_way(app, name).write_text(text)
        if image not in self._snapshots:
            self._snapshots[image] = snapshot(image)
        added = snapshot(app).items() - self._snapshots[image].items()
        names = {name for name, _ in added} - {str(task.file)}
        self._outlines[task.public.id] = _Outline(stub, {name: (app / name).read_text() for name in sorted(names)})
        return self._outlines[task.public.id]

    async def _run_verifier(self, task: HarborTask, work: Work) -> Grade:
        verifier = task.config.verifier
        with self.places.temporary() as folder:
            app, tests, logs = (folder / name for name in ("app", "tests", "logs"))
            app.mkdir()
            await self._lay_out(task, app)
            await asyncio.to_thread(_bring, task, work, app)
            await asyncio.to_thread(write_all, task.tests, tests)
            (logs / VERIFIER).mkdir(parents=True)
            completed = await self.places.run(
                task,
                app,
                ["bash", "/tests/test.sh"],
                phase=verifier,
                timeout=verifier.timeout_sec,
                binds=(Bind(tests, Path("/tests"), writable=True), Bind(logs, Path("/logs"), writable=True)),
                environment=verifier.env,
            )
            if completed.timed_out:
                message = f"the task's test.sh ran longer than {verifier.timeout_sec:g} s"
                grade = Grade(0.0, 0, task.tests_total, Failure(FailureKind.TEST_TIMEOUT, message))
            elif completed.output_exceeded:
                message = "the task's test.sh printed without end"
                grade = Grade(0.0, 0, task.tests_total, Failure(FailureKind.OUTPUT_FLOOD, message))
            else:
                grade = read_grade(logs, task.tests_total)
        output = completed.stdout + completed.stderr
        return replace(grade, test_output=output, phases={"tests": completed.duration})


@dataclass(frozen=True)
class _Solution:
    """A task's `solve.sh`."""

    _harbor: Harbor
    _task: HarborTask

    async def apply(self, task: Task) -> None:
        places = self._harbor.places
        with places.temporary() as folder:
            await asyncio.to_thread(write_all, self._task.solution, folder)
            completed = await places.run(
                self._task,
                task.workspace,
                ["bash", "/solution/solve.sh"],
                phase=self._task.config.agent,
                timeout=_SOLVE_TIMEOUT,
                binds=(Bind(folder, Path("/solution"), writable=True),),
                environment=self._task.config.solution.env,
            )
        if completed.exit_code != 0:
            raise InfrastructureFailure(
                f"The reference solution of {self._task.public.id} failed: {ending(completed)}. Check its solve.sh."
            )


def _bring(task: HarborTask, work: Work, app: Path) -> None:
    """Bring what an agent left to where it never was."""
    if task.file is None:
        apply_changes(work.changes, app)
    else:
        make_way(app, str(task.file)).write_text(work.source)
