"""Brings what the rooms below log into the run's log, where the Prefect UI and the terminal show it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

ROOMS = ("core", "evals", "sandboxes")


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
