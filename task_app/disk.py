"""Bounds what an agent may write: a jail limits the size of a file, and nothing else limits how many there are."""

import asyncio
import os
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

MOST_BYTES = 6 << 30
"""Of a rollout's workspace and HOME together. A build of a large crate needs less than half."""

_PAUSE = 1.0
_SHARE = 20
"""Looking takes at most one part in so many of the time."""
_LEAST = 1024
"""Bytes that an entry counts for at least: an empty file takes up room, too."""

T = TypeVar("T")


class DiskExceeded(Exception):
    """More was written than is allowed; the message says how much that is. Who wrote it has been ended."""


async def bounded(work: Coroutine[Any, Any, T], folder: Path, limit: int = MOST_BYTES) -> T:
    """The result of some work that is cancelled once the folder holds more than `limit` bytes.

    Raises:
        DiskExceeded: it was.
    """
    working = asyncio.ensure_future(work)
    watching = asyncio.create_task(_exceeds(folder, limit))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await watching
            raise DiskExceeded(f"wrote more than {limit / (1 << 30):.3g} GiB to its workspace and HOME")
        return await working
    finally:
        for task in (watching, working):
            task.cancel()
        await asyncio.wait({watching, working})


async def _exceeds(folder: Path, limit: int) -> None:
    """Ends once the folder holds more."""
    while True:
        begun = time.monotonic()
        if await asyncio.to_thread(size_of, folder) > limit:
            return
        await asyncio.sleep(max(_PAUSE, _SHARE * (time.monotonic() - begun)))


def size_of(folder: Path) -> int:
    """Bytes on disk of all in a folder that changes meanwhile."""
    total, left = 0, [folder]
    while left:
        try:
            with os.scandir(left.pop()) as entries:
                for entry in entries:
                    total += max(_LEAST, entry.stat(follow_symlinks=False).st_blocks * 512)
                    if entry.is_dir(follow_symlinks=False):
                        left.append(Path(entry.path))
        except OSError:  # it is gone, or has been closed to us: what is in there counts once it can be seen
            continue
    return total
