"""The terminal: a run's log lines and progress on stderr while it runs, its table on stdout when it ends."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.context import TaskRunContext
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from flows.prefect_artifacts import attempts_text, comparison_text, rescoring_text
from flows.result import ResultDocument, RolloutRow

_FINISHED = re.compile(r"Finished in state (\w+)\((.*)\)$", re.DOTALL)
_STYLES = {"Completed": "green", "Failed": "red", "Crashed": "red", "TimedOut": "red", "Cancelled": "yellow"}


class _RunLog(logging.Handler):
    """One short line per event; tracebacks stay in the Prefect UI."""

    def __init__(self, console: Console, progress: Progress) -> None:
        super().__init__(logging.INFO)
        self._console = console
        self._progress = progress
        self._task = progress.add_task("rollouts", total=None, mean="")

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._show(record)
        except Exception:
            self.handleError(record)

    def _show(self, record: logging.LogRecord) -> None:
        if hasattr(record, "rollouts_total"):
            mean = record.rollouts_mean  # type: ignore[attr-defined]
            self._progress.update(
                self._task,
                completed=record.rollouts_completed,  # type: ignore[attr-defined]
                total=record.rollouts_total,
                mean="" if mean is None else f"mean {mean:.3f}",
            )
        time = self.formatter.formatTime(record, "%H:%M:%S") if self.formatter else ""
        where = getattr(record, "task_run_name", None) or _current_task()
        message = record.getMessage()
        finished = _FINISHED.match(message)
        if finished:
            state, detail = finished.groups()
            style = _STYLES.get(state, "default")
            message = f"[{style}]{state}[/]" + (f" {escape(detail.strip(chr(39)))}" if state != "Completed" else "")
        else:
            style = {logging.WARNING: "yellow", logging.ERROR: "red"}.get(record.levelno, "default")
            message = f"[{style}]{escape(message)}[/]"
        self._console.print(f"[dim]{time}[/] [cyan]{escape(where):<20}[/] {message}", highlight=False, soft_wrap=True)


def _current_task() -> str:
    """Where a record of another room comes from: its task is known from the context alone."""
    context = TaskRunContext.get()
    return context.task_run.name if context else "run"


@contextmanager
def live(console: Console) -> Iterator[None]:
    """Show what the run logs, and its progress where the console is a terminal, until the block ends."""
    progress = Progress(
        TextColumn("rollouts"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[mean]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    handler = _RunLog(console, progress)
    handler.setFormatter(logging.Formatter())
    prefect = logging.getLogger("prefect")
    runs = [logging.getLogger("prefect.flow_runs"), logging.getLogger("prefect.task_runs")]
    before = [(logger, logger.propagate) for logger in runs]
    for logger in runs:
        logger.addHandler(handler)
        logger.propagate = False
    level = prefect.level
    prefect.setLevel(logging.WARNING)
    for logger in runs:
        logger.setLevel(logging.INFO)
    try:
        with progress:
            yield
    finally:
        prefect.setLevel(level)
        for logger, propagate in before:
            logger.removeHandler(handler)
            logger.propagate = propagate


def table(result: ResultDocument) -> Table:
    """The rollouts of a run, one row each."""
    attempts = any(row.attempt for row in result.rollouts)
    errors = any(row.error for row in result.rollouts)
    shown = Table(title=f"{result.run} · {result.benchmark.name}", title_justify="left", expand=errors)
    shown.add_column("instance", no_wrap=True)
    if attempts:
        shown.add_column("attempt", justify="right")
    for name in ("reward", "tests", "seconds"):
        shown.add_column(name, justify="right")
    if errors:
        # one line each: the whole of it is in the result document and in the artifacts
        shown.add_column("error", no_wrap=True, overflow="ellipsis", ratio=1)
    for row in result.rollouts:
        shown.add_row(*_cells(row, attempts, errors))
    return shown


def _cells(row: RolloutRow, attempts: bool, errors: bool) -> list[str]:
    if row.reward is None:
        reward = "[yellow]no score[/]"
    else:
        reward = f"[{'green' if row.reward == 1 else 'red' if row.reward == 0 else 'default'}]{row.reward:.3f}[/]"
    tests = "" if row.tests_total is None else f"{row.tests_passed}/{row.tests_total}"
    error = escape(f"{row.error.kind}: {row.error.message}") if row.error else ""
    return [
        row.instance,
        *([str(row.attempt + 1)] if attempts else []),
        reward,
        tests,
        f"{sum(row.phases.values()):.1f}",
        *([error] if errors else []),
    ]


def summary(result: ResultDocument) -> str:
    """The run in a few lines of text."""
    counts = result.counts
    mean = "none" if result.mean_reward is None else f"{result.mean_reward:.3f}"
    interval = "" if result.interval_95 is None else " [95%: {:.3f} to {:.3f}]".format(*result.interval_95)
    return (
        f"mean reward {mean}{interval}, solved {counts.solved} of {counts.total}, "
        f"infrastructure failures {counts.infrastructure_failures}\n"
        + (f"{rescoring_text(result.rescored)}\n" if result.rescored else "")
        + (f"{attempts}\n" if (attempts := attempts_text(result)) else "")
        + (f"{comparison_text(result.comparison)}\n" if result.comparison else "")
        + f"{result.status}"
        + (f": {result.error.message}" if result.error else "")
    )
