"""`make test-faults`: each fault at each step on each backend. Prints the tables of docs/reliability.md."""

import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from itertools import product
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from cyclopts import App

from tests.faults.faults import BOTH, FAULTS, Fault, Outcome, disturb
from tests.faults.outcomes import Outcomes
from tests.faults.runs import MOMENTS, NotStruck
from tests.faults.scene import BackendName, Scene
from tests.faults.services import Cloud, PrefectServer, cloud, prefect_server

TRIES = 3

app = App(name="python -m tests.faults", help=__doc__)


class Trial(NamedTuple):
    fault: Fault
    step: str
    backend: BackendName

    @property
    def name(self) -> tuple[str, str, str]:
        return self.fault.name, self.step, self.backend


class Place(NamedTuple):
    """Where one trial at a time is made."""

    home: Path
    server: PrefectServer
    emulator: Cloud

    def attempt(self, trial: Trial) -> Outcome:
        """Some moments are over soon: what came too late is tried again."""
        for _ in range(TRIES):
            home = Path(tempfile.mkdtemp(dir=self.home))
            scene = Scene(home, self.server, self.emulator if trial.backend == "daytona" else None)
            try:
                with closing(scene):
                    return disturb(scene, trial.fault, trial.step)
            except NotStruck as late:
                reason = str(late)
            except AssertionError as failure:
                return Outcome.none(str(failure))
        return Outcome.none(reason)


@app.default
def main(*words: str, jobs: int = 2, record: Path | None = None) -> None:
    """Try faults, and print what became of them. Fails if one was not borne.

    Parameters
    ----------
    words
        Only trials of this fault, step or backend, e.g. `local eval Ctrl-C`.
    jobs
        Trials at a time, each in services of its own.
    record
        File that keeps outcomes. A fault that was borne is not tried again, and all that are in it are told.
    """
    trials = [trial for trial in all_trials() if all(word in trial.name for word in words)]
    outcomes = Outcomes(record)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
        places = SimpleQueue[Place]()
        for number in range(jobs):
            server = stack.enter_context(prefect_server(home / f"prefect-{number}"))
            places.put(Place(home, server, stack.enter_context(cloud())))

        def attempt(trial: Trial) -> None:
            place = places.get()
            try:
                outcomes.add(trial.name, place.attempt(trial))
            finally:
                places.put(place)

        pool = stack.enter_context(ThreadPoolExecutor(jobs))
        stack.callback(pool.shutdown, cancel_futures=True)
        list(pool.map(attempt, [trial for trial in trials if not outcomes.are_clean(trial.name)]))
    print(outcomes.tables())
    failed = [trial for trial in trials if not outcomes.are_clean(trial.name)]
    sys.exit(f"{len(failed)} of {len(trials)} failed." if failed else 0)


def all_trials() -> Iterator[Trial]:
    for fault, backend, step in product(FAULTS, BOTH, MOMENTS):
        if step in fault.steps and backend in fault.backends:
            yield Trial(fault, step, backend)


if __name__ == "__main__":
    app()
