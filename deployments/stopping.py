"""How the long-running commands of this room end."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """Ctrl-C or SIGTERM."""


@contextmanager
def until_stopped() -> Iterator[None]:
    """Turn the first Ctrl-C or SIGTERM into the end of the block. Further ones can't cut its cleanup short."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: say("Still stopping"))
        raise Stopped

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        yield
    except Stopped:
        say("Stopped")


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
