"""Users that jails run as: one holder each on this machine, whatever process it is in."""

import subprocess
import sys

import pytest

from task_app.errors import InfrastructureFailure
from task_app.users import hold

# of the tests alone
UIDS = range(59_000, 59_002)

ELSEWHERE = f"from task_app.users import hold; user = hold({UIDS}); print(user.uid, flush=True); input()"


def test_nobody_gets_what_is_held_here_or_in_another_process() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", ELSEWHERE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout
        theirs = int(other.stdout.readline())
        ours = hold(UIDS)
        assert {theirs, ours.uid} == set(UIDS)
        with pytest.raises(InfrastructureFailure, match="fewer sandboxes"):
            hold(UIDS)
        other.kill()
    again = hold(UIDS)
    assert again.uid == theirs, "what a process held is free once that has ended"
    again.release()
    ours.release()


def test_what_is_released_can_be_held_again() -> None:
    first = hold(UIDS)
    first.release()
    second = hold(UIDS)
    assert second.uid == first.uid
    second.release()
