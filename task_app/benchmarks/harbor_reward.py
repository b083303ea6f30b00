"""Reads the reward that a task's `test.sh` left in /logs/verifier.

`reward.json` goes before `reward.txt`; the script's exit code says nothing; no reward is no score, not a zero.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from task_app.errors import InfrastructureFailure
from task_app.grade import Failure, FailureKind, Grade
from task_app.untrusted import read_untrusted

VERIFIER = "verifier"
"""Folder of the reward in /logs."""
_LIMIT = 64 * 1024
_KEYS = ("reward", "score")


def read_grade(logs: Path, tests_total: int) -> Grade:
    """The grade in a folder of logs, which the submission could have written to.

    Raises:
        InfrastructureFailure: there is no reward, or it is not a number of 0..1.
    """
    if text := _read(logs, "reward.json"):
        values = _parse(text)
        reward = _number("reward.json", _reward(values))
        total = _count(values.get("tests_total")) or tests_total
        passed = min(_count(values.get("tests_passed")) or (total if reward == 1 else 0), total)
    elif text := _read(logs, "reward.txt"):
        reward, total = _number("reward.txt", text), tests_total
        passed = total if reward == 1 else 0
    else:
        raise InfrastructureFailure("The task's test.sh ended without a reward in /logs/verifier. Check the benchmark.")
    message = f"the task's test.sh gave {reward:g}"
    failure = None if reward == 1 else Failure(FailureKind.TESTS_FAILED, message)
    return Grade(reward, passed, total, failure)


def _read(logs: Path, name: str) -> str:
    """Empty if it is not there."""
    try:
        return read_untrusted(logs, f"{VERIFIER}/{name}", _LIMIT).decode().strip()
    except FileNotFoundError:
        return ""
    except ValueError as error:  # UnicodeDecodeError included
        raise InfrastructureFailure(f"The task's {name} can't be read: {error}.") from error


def _parse(text: str) -> Mapping[str, Any]:
    try:
        values = json.loads(text)
    except ValueError as error:
        raise InfrastructureFailure(f"The task's reward.json is no JSON: {error}.") from error
    return values if isinstance(values, dict) else {"reward": values}


def _reward(values: Mapping[str, Any]) -> Any:
    """The value of `reward`, else of `score`, else the only one."""
    for key in _KEYS:
        if key in values:
            return values[key]
    if len(values) != 1:
        raise InfrastructureFailure(f"The task's reward.json has no `reward`; it has {', '.join(values) or 'nothing'}.")
    return next(iter(values.values()))


def _number(name: str, value: Any) -> float:
    try:
        reward = float(value)
    except (TypeError, ValueError):
        reward = math.nan
    if not 0 <= reward <= 1:
        raise InfrastructureFailure(f"The task's {name} says {str(value)[:40]!r}, which is no reward of 0 to 1.")
    return reward


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
