"""Reads the one file that counts out of a workspace where an agent could leave anything in its place."""

from pathlib import Path, PurePosixPath

from task_app.untrusted import read_untrusted

SIZE_LIMIT = 1024 * 1024
"""Bytes of a source file; the reference solutions have some ten thousand."""


class UnusableSource(Exception):
    """The agent left no file that could be graded; the message says what is there instead."""


def collect(workspace: Path, file: PurePosixPath) -> str:
    """The text of `file` in the workspace.

    Raises:
        UnusableSource: it is not a regular file of UTF-8 text of at most `SIZE_LIMIT` bytes within the workspace.
    """
    try:
        return read_untrusted(workspace, str(file), SIZE_LIMIT).decode()
    except FileNotFoundError:
        raise UnusableSource(f"{file} is not there.") from None
    except UnicodeDecodeError as error:
        raise UnusableSource(f"{file} is not UTF-8 text (at byte {error.start}).") from None
    except ValueError as error:
        raise UnusableSource(f"{error}.") from None
