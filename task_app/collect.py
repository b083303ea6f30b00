"""Reads the one file that counts out of a workspace where an agent could leave anything in its place."""

import os
import stat
from pathlib import Path, PurePosixPath

SIZE_LIMIT = 1024 * 1024
"""Bytes of a source file; the reference solutions have some ten thousand."""


class UnusableSource(Exception):
    """The agent left no file that could be graded; the message says what is there instead."""


def collect(workspace: Path, file: PurePosixPath) -> str:
    """The text of `file` in the workspace. No link on the way is followed, so nothing outside can be read.

    Raises:
        UnusableSource: it is not a regular file of UTF-8 text of at most `SIZE_LIMIT` bytes.
    """
    folder = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in file.parts[:-1]:
            inner = _open(part, os.O_DIRECTORY, folder, file)
            os.close(folder)
            folder = inner
        # Non-blocking, since opening a named pipe would wait for a writer for ever.
        descriptor = _open(file.name, os.O_NONBLOCK, folder, file)
    finally:
        os.close(folder)
    with os.fdopen(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise UnusableSource(f"{file} is no regular file any more.")
        content = opened.read(SIZE_LIMIT + 1)
    return _text(content, file)


def _open(name: str, flags: int, folder: int, file: PurePosixPath) -> int:
    try:
        return os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flags, dir_fd=folder)
    except FileNotFoundError:
        raise UnusableSource(f"{file} is not there.") from None
    except OSError as error:
        # A link gives ELOOP or ENOTDIR, a socket ENXIO, a file without permissions EACCES.
        raise UnusableSource(f"{file} can't be read as a regular file ({name}: {error.strerror}).") from None


def _text(content: bytes, file: PurePosixPath) -> str:
    if len(content) > SIZE_LIMIT:
        raise UnusableSource(f"{file} is larger than {SIZE_LIMIT // 1024} KB.")
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UnusableSource(f"{file} is not UTF-8 text (at byte {error.start}).") from None
