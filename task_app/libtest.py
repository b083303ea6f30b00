"""Reads what a Rust test binary prints, and believes none of it without a second sign.

The submission runs in the same process and may print what it likes, then leave. So all must fit together: one line for
each test that ran and none for another, a summary whose counts agree, an exit code that agrees, and the line of a last
test whose name the submission can't know.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

_START = re.compile(r"^running (\d+) tests?$")
_RESULT = re.compile(r"^test (\S+)(?: - should panic)? \.\.\. (ok|FAILED|ignored)(?:, .*)?$")
_SUMMARY = re.compile(
    r"^test result: (ok|FAILED)\. (\d+) passed; (\d+) failed; (\d+) ignored; "
    r"\d+ measured; \d+ filtered out; finished in \S+$"
)
_LOOKS_LIKE_ONE = re.compile(r"(?:^|\s)test \S+.* \.\.\. |^test result: |^running \d+ tests?\s*$")


@dataclass(frozen=True)
class Results:
    """The tests that passed and failed, by full name."""

    passed: frozenset[str]
    failed: frozenset[str]


class Incomplete(ValueError):
    """The process ended before its tests did."""


class Forged(ValueError):
    """The output can't have come from the test harness alone."""


def parse(output: str, exit_code: int, expected: Collection[str], last: str) -> Results:
    """The results in the output of a run with `--test-threads=1`.

    Args:
        expected: full names of the tests that may report; one that did not is in neither set of the answer.
        last: full name of the test that ends the run; it is in neither set.

    Raises:
        Incomplete: no end of the run is in the output.
        Forged: something does not fit.
    """
    lines = output.splitlines()
    results, rest = _results(lines)
    summary = _summary(rest)
    outcomes = dict(results)
    if len(outcomes) != len(results):
        raise Forged("a test reported twice")
    if last not in outcomes:
        raise Incomplete("the test process ended before its last test")
    if outcomes.pop(last) != "ok":
        raise Forged("the last test can't fail, but is reported to")
    if strangers := sorted(outcomes.keys() - set(expected)):
        raise Forged(f"a test reported that is none of the hidden ones: {strangers[0]}")
    passed = frozenset(name for name, outcome in outcomes.items() if outcome == "ok")
    failed = frozenset(name for name, outcome in outcomes.items() if outcome == "FAILED")
    ignored = len(outcomes) - len(passed) - len(failed)
    verdict = "FAILED" if failed else "ok"
    if summary != (verdict, len(passed) + 1, len(failed), ignored) or exit_code != (101 if failed else 0):
        raise Forged("the summary or the exit code does not agree with the tests' own lines")
    return Results(passed, failed)


def _results(lines: list[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """The result lines, and the lines after them. Nothing may stand before or between them."""
    body = [line for line in lines if line]
    start = _START.match(body[0]) if body else None
    if start is None:
        raise Incomplete("the test process printed no results")
    count = int(start[1])
    found = []
    for line in body[1 : count + 1]:
        match = _RESULT.match(line)
        if match is None:
            raise _broken(line)
        found.append((match[1], match[2]))
    if len(found) < count:
        raise Incomplete(f"the test process ended after {len(found)} of {count} tests")
    return found, body[count + 1 :]


def _broken(line: str) -> ValueError:
    """A line that just stops is a process that died; all else was written by the submission."""
    if re.fullmatch(r"test \S+(?: - should panic)? \.\.\. ", line):
        return Incomplete(f"the test process died in {line.split()[1]}")
    return Forged(f"an unexpected line stands between the results: {line[:80]!r}")


def _summary(lines: list[str]) -> tuple[str, int, int, int]:
    if not lines or (match := _SUMMARY.match(lines[-1])) is None:
        raise Incomplete("the test process printed no summary")
    for line in lines[:-1]:
        if _LOOKS_LIKE_ONE.search(line):
            raise Forged(f"the submission printed a line that looks like a result: {line[:80]!r}")
    return match[1], int(match[2]), int(match[3]), int(match[4])
