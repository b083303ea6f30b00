"""Reading a test binary's output: honest runs, runs that stopped short, and forged ones."""

import pytest

from task_app.libtest import Forged, Incomplete, parse

LAST = "card::eval_tests_end_ab12::reached"
NAMES = ["card::eval_tests::a", "card::eval_tests::b"]
SUMMARY = "test result: {}. {} passed; {} failed; {} ignored; 0 measured; 7 filtered out; finished in 0.01s"


def output(
    a: str = "ok", b: str = "ok", last: str = "ok", between: str = "", summary: str = "", details: str = ""
) -> str:
    outcomes = (a, b, last)
    verdict = "FAILED" if "FAILED" in outcomes else "ok"
    counts = (sum(outcome.startswith(kind) for outcome in outcomes) for kind in ("ok", "FAILED", "ignored"))
    lines = [f"test {name} ... {outcome}" for name, outcome in zip([*NAMES, LAST], outcomes, strict=True)]
    lines.insert(1, between)
    return "\n".join(["", "running 3 tests", *lines, "", details, summary or SUMMARY.format(verdict, *counts), "", ""])


def test_all_pass() -> None:
    results = parse(output(), 0, NAMES, LAST)
    assert (results.passed, results.failed) == (set(NAMES), set())


def test_some_fail_and_print() -> None:
    printed = "left: 1\n test of patience ok\n"
    details = f"failures:\n\n---- {NAMES[0]} stdout ----\n{printed}\nfailures:\n    {NAMES[0]}\n"
    results = parse(output(a="FAILED", details=details), 101, NAMES, LAST)
    assert (results.passed, results.failed) == ({NAMES[1]}, {NAMES[0]})


def test_an_ignored_test_is_in_neither_set() -> None:
    results = parse(output(a="ignored, too slow"), 0, NAMES, LAST)
    assert (results.passed, results.failed) == ({NAMES[1]}, set())


def test_a_test_that_should_panic_goes_by_its_name() -> None:
    text = output().replace("eval_tests::a ...", "eval_tests::a - should panic ...")
    assert parse(text, 0, NAMES, LAST).passed == set(NAMES)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "something else",
        f"\nrunning 3 tests\ntest {NAMES[0]} ... ",
        output().partition("test result")[0],
        f"\nrunning 0 tests\n\n{SUMMARY.format('ok', 0, 0, 0)}\n",
    ],
)
def test_a_run_that_did_not_come_to_its_end(text: str) -> None:
    with pytest.raises(Incomplete):
        parse(text, 0, NAMES, LAST)


@pytest.mark.parametrize(
    ("text", "exit_code"),
    [
        (output(), 101),
        (output(a="FAILED"), 0),
        (output(between="hello"), 0),
        (output(a="okay"), 0),
        (output(b="FAILED", summary=SUMMARY.format("ok", 3, 0, 0)), 0),
        (output(summary=SUMMARY.format("ok", 4, 0, 0)), 0),
        (output(last="FAILED"), 101),
        (output(details="test card::eval_tests::b ... ok"), 0),
        (output(details=SUMMARY.format("ok", 3, 0, 0)), 0),
        (output(details="running 3 tests"), 0),
        (output().replace("eval_tests::b", "eval_tests::a"), 0),
        (output().replace("eval_tests::b", "eval_tests::stranger"), 0),
    ],
)
def test_a_run_in_which_something_does_not_fit(text: str, exit_code: int) -> None:
    with pytest.raises(Forged):
        parse(text, exit_code, NAMES, LAST)
