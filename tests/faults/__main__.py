"""`make test-faults`: each fault at each step on each backend. Prints the table of docs/reliability.md.

Fails if a cell of it does.
Words on the command line narrow it down: `python -m tests.faults local eval "Ctrl-C"`.
"""

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import product
from pathlib import Path

from tests.faults.faults import BOTH, FAULTS, Fault, Outcome, disturb
from tests.faults.scene import (
    MOMENTS,
    BackendName,
    Cloud,
    NotStruck,
    PrefectServer,
    Scene,
    cloud,
    prefect_server,
)

TRIES = 3


def main(words: Sequence[str]) -> None:
    trials = [trial for trial in all_trials() if all(word in (trial[0].name, *trial[1:]) for word in words)]
    failures = []
    print("| fault | step | backend | run | resumed | lost | doubled | leaked |\n|---|---|---|---|---|---|---|---|")
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
        server = stack.enter_context(prefect_server(home / "prefect"))
        emulator = stack.enter_context(cloud()) if any(backend == "daytona" for *_, backend in trials) else None
        for number, (fault, step, backend) in enumerate(trials):
            try:
                outcome = attempt(fault, step, backend, home / str(number), server, emulator)
            except (AssertionError, NotStruck) as failure:
                print(f"| {fault.name} | {step} | {backend} | not tried: {str(failure).splitlines()[0]} ||||||")
                failures.append(str(failure))
                continue
            print(line(fault, step, backend, outcome), flush=True)
            if not outcome.is_clean:
                failures.append(f"{fault.name}, {step}, {backend}: left {outcome.leaked}\n{outcome.said}")
    if failures:
        sys.exit(f"{len(failures)} of {len(trials)} failed.\n" + "\n\n".join(failures))


def all_trials() -> Iterator[tuple[Fault, str, BackendName]]:
    for fault, backend, step in product(FAULTS, BOTH, MOMENTS):
        if step in fault.steps and backend in fault.backends:
            yield fault, step, backend


def attempt(
    fault: Fault, step: str, backend: BackendName, home: Path, server: PrefectServer, emulator: Cloud | None
) -> Outcome:
    """Some moments are over soon: what came too late is tried again."""
    for tried in range(1, TRIES + 1):
        scene = Scene(home / str(tried), server, emulator if backend == "daytona" else None)
        try:
            with closing(scene):
                return disturb(scene, fault, step)
        except NotStruck:
            if tried == TRIES:
                raise
    raise AssertionError


def line(fault: Fault, step: str, backend: BackendName, outcome: Outcome) -> str:
    ended = {0: "completed", 1: "failed", 130: "interrupted", 143: "terminated", -9: "killed", -2: "interrupted"}
    cells = (
        fault.name,
        step,
        backend,
        ended.get(outcome.exit_code, f"exit code {outcome.exit_code}"),
        "completed" if outcome.resumed == 0 else f"exit code {outcome.resumed}",
        outcome.lost,
        outcome.doubled,
        len(outcome.leaked),
    )
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    main(sys.argv[1:])
