"""Brings what the rooms below log into the run's log, where the Prefect UI and the terminal show it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from prefect.logging.handlers import PrefectConsoleHandler

from core.errors import EngineBenchError

ROOMS = ("core", "evals", "sandboxes")


class _OneLinePerEvent(logging.Filter):
    """Takes the traceback off an error of our own, whose message says what happened and what to do."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], EngineBenchError):
            record.exc_info, record.exc_text = None, None
        return True


_ONE_LINE_PER_EVENT = _OneLinePerEvent()


def keep_run_logs_short() -> None:
    """One line per event, from now on: Prefect tells of a flow's error when the flow itself is over."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_ONE_LINE_PER_EVENT)


def outlive_listeners() -> None:
    """Go on where nobody reads any more what this process prints, e.g. as its worker was killed: rich would exit.

    What is logged still goes to the Prefect API.
    """
    for name in (None, "prefect"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, PrefectConsoleHandler):
                handler.console.on_broken_pipe = partial(setattr, handler.console, "quiet", True)  # type: ignore[method-assign]


@contextmanager
def rooms_log_to_the_run() -> Iterator[None]:
    """While the block lasts, records of the other rooms go where those of the flow go. They know nothing of Prefect."""
    handlers = logging.getLogger("prefect.flow_runs").handlers
    rooms = [logging.getLogger(room) for room in ROOMS]
    for room in rooms:
        room.handlers, room.propagate = list(handlers), False
        room.setLevel(logging.INFO)
    try:
        yield
    finally:
        for room in rooms:
            room.handlers, room.propagate = [], True
            room.setLevel(logging.NOTSET)
