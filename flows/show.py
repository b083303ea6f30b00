"""`engine-bench show RUN [INSTANCE]`: a run's rollouts, or what an agent did on one instance, in the terminal."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from core.errors import ConfigurationError
from core.settings import Settings
from flows.result import ResultDocument, RolloutRow
from task_app.agents.trajectory import ToolCall, Trajectory, Turn

LATEST = "latest"
_RESULT_LINES = 40
"""Of a tool's result; the file has all of it."""
_SECTIONS = {
    "context.json": ("What became of the context", "json"),
    "agent.log": ("Agent's log", "text"),
    "diff.patch": ("Diff against the stub", "diff"),
    "compile.txt": ("Compiler", "text"),
    "tests.txt": ("Tests", "text"),
}
"""Artifacts by name, with title and language."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def show(run: str, instance: str | None, settings: Settings) -> RenderableType:
    """The rollouts of a run, or all attempts at one of its instances.

    Args:
        run: its name, the beginning of it, or `latest`.

    Raises:
        ConfigurationError: there is no such run or instance.
    """
    folder = _folder(settings.results_dir.absolute(), run)
    document = _document(folder / "result.json")
    if instance is None:
        return _overview(document)
    rows = [row for row in document.rollouts if row.instance == instance]
    if not rows:
        known = ", ".join(sorted({row.instance for row in document.rollouts}))
        raise ConfigurationError(f"Run {document.run} has no instance {instance!r}. Its instances: {known}.")
    return Group(*(part for row in rows for part in _rollout(row, folder)))


def _folder(results: Path, run: str) -> Path:
    finished = sorted(path.parent for path in results.glob("*/result.json"))
    if not finished:
        raise ConfigurationError(f"There is no run in {results}. ENGINE_BENCH_RESULTS_DIR names another folder.")
    if run == LATEST:
        return finished[-1]
    found = [folder for folder in finished if folder.name == run] or [
        folder for folder in finished if folder.name.startswith(run)
    ]
    if len(found) == 1:
        return found[0]
    which, some = ("Several runs match", found) if found else ("There is no run", finished)
    names = ", ".join(folder.name for folder in some[-5:])
    raise ConfigurationError(f"{which} {run!r} in {results}. Runs: {names}, or `{LATEST}`.")


def _document(path: Path) -> ResultDocument:
    try:
        return ResultDocument.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ConfigurationError(
            f"{path} is no result document of this version: {error.error_count()} errors."
        ) from error


def _overview(document: ResultDocument) -> Table:
    table = Table(
        "instance",
        "attempt",
        "reward",
        "tests",
        "tokens",
        "cost",
        "agent",
        "why",
        title=document.run,
        title_justify="left",
    )
    for row in document.rollouts:
        table.add_row(
            row.instance,
            str(row.attempt),
            "-" if row.reward is None else f"{row.reward:.2f}",
            _tests(row),
            _or_dash(row.tokens),
            "-" if row.cost_usd is None else f"${row.cost_usd:.3f}",
            f"{row.phases['agent']:.0f} s" if "agent" in row.phases else "-",
            _plain(f"{row.error.kind}: {row.error.message}") if row.error else "",
        )
    return table


def _rollout(row: RolloutRow, folder: Path) -> Iterator[RenderableType]:
    reward = "no score" if row.reward is None else f"reward {row.reward:.2f}"
    yield Rule(Text(f"{row.instance}, attempt {row.attempt}: {reward}, tests {_tests(row)}"), style="bold")
    if row.error:
        yield Text(f"{row.error.kind}: {_clean(row.error.message)}", style="red")
    files = {Path(name).name: folder / name for name in row.artifacts}
    if "trajectory.json" in files:
        yield from _trajectory(files["trajectory.json"])
        files.pop("agent.log", None)  # says the same, raw
    for name, (title, lexer) in _SECTIONS.items():
        if name in files:
            yield Panel(_code(files[name].read_text(), lexer), title=title, title_align="left")


def _trajectory(path: Path) -> Iterator[RenderableType]:
    try:
        trajectory = Trajectory.model_validate_json(path.read_bytes())
    except ValidationError:
        yield Text(f"{path} is not in a format that this version knows.", style="yellow")
        return
    usage = trajectory.usage
    tokens = (
        f"{usage.input_tokens} tokens in ({usage.cached_input_tokens} cached), {usage.output_tokens} out"
        if usage
        else ""
    )
    told = (f"{trajectory.agent} {trajectory.model or ''}".strip(), f"{trajectory.seconds:.1f} s", tokens)
    yield Text(", ".join(filter(None, told)), style="dim")
    for number, turn in enumerate(trajectory.turns, start=1):
        yield from _turn(number, turn)
    yield Text(_clean(trajectory.ending), style="dim")


def _turn(number: int, turn: Turn) -> Iterator[RenderableType]:
    yield Text(f"\n{number:>3}  {turn.started:.1f} s", style="bold cyan")
    if turn.reasoning:
        yield Text(_clean(turn.reasoning), style="dim italic")
    if turn.text:
        yield _plain(turn.text)
    for call in turn.tool_calls:
        yield from _call(call)


def _call(call: ToolCall) -> Iterator[RenderableType]:
    took = "" if call.ended is None else f"  {call.ended - call.started:.1f} s"
    yield Text(f"> {call.name}{took}", style="red" if call.failed else "green")
    for name, value in call.arguments.items():
        text = value if isinstance(value, str) else json.dumps(value)
        yield Text(_indented(f"{name}: {_clean(_head(text))}"))
    if call.result:
        yield Text(f"  {_indented(_clean(_head(call.result)))}", style="dim")


def _head(text: str) -> str:
    lines = text.rstrip().splitlines()
    if len(lines) <= _RESULT_LINES:
        return "\n".join(lines)
    return "\n".join([*lines[:_RESULT_LINES], f"[{len(lines) - _RESULT_LINES} more lines]"])


def _indented(text: str) -> str:
    """Its first line by less than those that go on."""
    return "  " + text.replace("\n", "\n    ")


def _code(text: str, lexer: str) -> Syntax:
    return Syntax(_clean(text.rstrip()), lexer, theme="ansi_dark", word_wrap=True, background_color="default")


def _plain(text: str) -> Text:
    return Text(_clean(text))


def _clean(text: str) -> str:
    """Without control characters, by which an agent's output could do things to the terminal."""
    return _CONTROL.sub("", text)


def _tests(row: RolloutRow) -> str:
    return "-" if row.tests_total is None else f"{row.tests_passed}/{row.tests_total}"


def _or_dash(value: int | None) -> str:
    return "-" if value is None else str(value)
