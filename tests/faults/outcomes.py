"""What became of the trials: a line for each as it ends, a table for each backend at the end, a file for both."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.faults.faults import BOTH, FAULTS, Fault, Outcome
from tests.faults.runs import MOMENTS

Name = tuple[str, str, str]
"""Of a trial: fault, step, backend."""


class Outcomes:
    """The last outcome of each trial. With a file, those that it holds as well."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known: dict[Name, Outcome] = {}
        if file and file.exists():
            for line in file.read_text().splitlines():
                name, outcome = json.loads(line)
                self._known[tuple(name)] = Outcome(**outcome)

    def add(self, name: Name, outcome: Outcome) -> None:
        self._known[name] = outcome
        print(f"{', '.join(name)}: {_cell(outcome)} ({outcome.seconds:.0f} s)", file=sys.stderr, flush=True)
        if not outcome.is_clean:
            print(f"left {outcome.leaked}\n{outcome.said}", file=sys.stderr, flush=True)
        if self._file:
            with self._file.open("a") as file:
                file.write(f"{json.dumps([name, asdict(outcome)])}\n")

    def are_clean(self, name: Name) -> bool:
        return name in self._known and self._known[name].is_clean

    def tables(self) -> str:
        """One for each backend: faults by steps."""
        lines = []
        for backend in BOTH:
            lines += [f"| {backend} | {' | '.join(MOMENTS)} |", f"|---|{'---|' * len(MOMENTS)}"]
            lines += [self._row(fault, backend) for fault in FAULTS if backend in fault.backends]
            lines.append("")
        return "\n".join(lines).rstrip()

    def _row(self, fault: Fault, backend: str) -> str:
        found = (self._known.get((fault.name, step, backend)) for step in MOMENTS)
        return f"| {' | '.join([fault.name, *(_cell(outcome) if outcome else '' for outcome in found)])} |"


def _cell(outcome: Outcome) -> str:
    """How the run that was struck has ended, and what was lost, doubled and leaked; what else is wrong, if that is."""
    if outcome.ended == "":
        return "not tried"
    wrong = [f"resumed: {outcome.resumed}"] * (outcome.resumed != "completed") + ["traceback"] * outcome.has_traceback
    counts = f"{outcome.lost}/{outcome.doubled}/{len(outcome.leaked)}"
    return " · ".join([outcome.ended, counts, *wrong])
