"""Users for jails to run as. No two jails of a machine may share one, whatever task app they belong to.

Limits are counted by user, and where there are no namespaces all that a user runs is ended with its jail.
"""

import errno
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from task_app.errors import InfrastructureFailure

# All below 65536, since a container may have no more.
PROBE_UIDS = range(60_000, 60_500)
HARBOR_UIDS = range(60_500, 61_000)
GRADING_UIDS = range(61_000, 62_000, 2)
"""Each stands for itself and the next: one compiles, the other tests."""
AGENT_UIDS = range(62_000, 65_000)
"""Of these one that runs nothing is drawn for each rollout; they are too many to be held one by one."""


@dataclass(frozen=True)
class HeldUser:
    """A user that is nobody else's until it is released, or its holder's process has ended."""

    uid: int
    _claim: socket.socket | None = None

    def release(self) -> None:
        if self._claim is not None:
            self._claim.close()

    def __enter__(self) -> "HeldUser":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def hold(uids: Iterable[int]) -> HeldUser:
    """The first of these users that nobody holds.

    Raises:
        InfrastructureFailure: all of them are held.
    """
    for uid in uids:
        if sys.platform != "linux":
            return HeldUser(uid)  # jails have no users of their own there
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            # A name in unix(7)'s abstract namespace: one process of the machine can have it, and it goes with that.
            claim.bind(f"\0engine-bench-user-{uid}")
        except OSError as error:
            claim.close()
            if error.errno != errno.EADDRINUSE:
                raise
        else:
            return HeldUser(uid, claim)
    raise InfrastructureFailure("All users that jails can run as are taken. Run fewer sandboxes on this machine.")
