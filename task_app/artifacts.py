"""What a rollout leaves behind: final code, to be graded again some day, and for people to read: its diff, compiler and
test output, the agent's log."""

import difflib
import json
from collections.abc import Sequence

from task_app.agents import AgentOutcome
from task_app.agents.overrides import Overrides
from task_app.agents.secrecy import redacted
from task_app.benchmarks import Task
from task_app.contracts import Artifact, OverrideResult
from task_app.grade import Grade

LIMIT = 64 * 1024
"""Bytes of an artifact for people. Of a longer one the end is kept: there compilers and test runners say why."""

DIFF_LINES = 5_000
"""Lines of a file beyond which no diff is made, since its cost grows with their square."""


def artifacts(task: Task, source: str, outcome: AgentOutcome, grade: Grade, overrides: Overrides) -> list[Artifact]:
    """The artifacts that have any content, free of the overrides' secrets but for the final code.

    Args:
        source: the collected file, empty if there was none to collect.
        overrides: those of the request, of which is told what became.
    """
    contents = {
        "changes.txt": "" if task.pristine is None else source,
        "diff.patch": _diff(task, source),
        "compile.txt": grade.compile_output,
        "tests.txt": grade.test_output,
        "agent.log": outcome.log,
        "context.json": _json(overrides.results),
    }
    # whole, since half of it can't be graded again, nor code with something else in the place of what is hidden
    final = {f"final{task.file.suffix}": source} if source and task.pristine is None else {}
    bounded = {name: _bounded(redacted(content, overrides.secrets)) for name, content in contents.items() if content}
    return [Artifact(name=name, content=content) for name, content in {**final, **bounded, **outcome.files}.items()]


def _json(overrides: Sequence[OverrideResult]) -> str:
    told = [override.model_dump(mode="json", exclude_none=True) for override in overrides]
    return json.dumps(told, indent=1) if told else ""


def _diff(task: Task, source: str) -> str:
    before, after = task.stub.splitlines(keepends=True), source.splitlines(keepends=True)
    if max(len(before), len(after)) > DIFF_LINES:
        return f"(no diff: the file has more than {DIFF_LINES} lines)\n"
    lines = difflib.unified_diff(before, after, f"a/{task.file}", f"b/{task.file}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _bounded(text: str) -> str:
    raw = text.encode()
    if len(raw) <= LIMIT:
        return text
    notice = f"[the first part was left out: {len(raw)} bytes in all]\n"
    return notice + raw[-(LIMIT - len(notice)) :].decode(errors="ignore")
