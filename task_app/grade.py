"""A grade: what one submission earned, and why."""

from dataclasses import dataclass, field
from enum import StrEnum

COMPILES = 0.3
"""EngineBench's share of the reward for code that compiles; the rest goes by the tests passed."""


class FailureKind(StrEnum):
    """Why a submission did not get all it could: each is the agent's own doing."""

    DOES_NOT_COMPILE = "does-not-compile"
    COMPILE_TIMEOUT = "compile-timeout"
    FORBIDDEN_CONSTRUCT = "forbidden-construct"
    TESTS_FAILED = "tests-failed"
    TEST_TIMEOUT = "test-timeout"
    TEST_PROCESS_DIED = "test-process-died"
    OUTPUT_FLOOD = "output-flood"
    FORGED_RESULTS = "forged-results"
    WRONG_ANSWER = "wrong-answer"
    AGENT_TIMEOUT = "agent-timeout"
    TURN_LIMIT = "turn-limit"
    DISK_EXCEEDED = "disk-exceeded"
    AGENT_FAILED = "agent-failed"


@dataclass(frozen=True)
class Failure:
    kind: FailureKind
    message: str
    """One line for a table."""


@dataclass(frozen=True)
class Grade:
    reward: float
    """0..1."""
    tests_passed: int
    tests_total: int
    """The hidden tests expected, not those that reported."""
    failure: Failure | None = None
    compile_output: str = ""
    test_output: str = ""
    phases: dict[str, float] = field(default_factory=dict)
    """Seconds by phase: `compile`, `tests`."""


def reward(passed: int, total: int) -> float:
    """EngineBench's score of code that compiles: 0.3 + 0.7 * passed / total, for a total of at least 1."""
    # in this order all passed is exactly 1.0
    return COMPILES + (1 - COMPILES) * (passed / total)
