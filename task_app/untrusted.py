"""Reading what an agent left, in a directory where it could have put anything."""

import os
import stat
from pathlib import Path


def read_untrusted(workspace: Path, relative: str, limit: int) -> bytes:
    """The content of a regular file that an agent left, never one that a symlink leads to.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is a link, no regular file, outside the workspace, or larger than `limit` bytes.
    """
    *folders, name = Path(relative).parts
    if Path(relative).is_absolute() or ".." in folders or name == "..":
        raise ValueError(f"{relative} leads out of the workspace")
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(workspace, flags | os.O_DIRECTORY)
    try:
        for folder in folders:
            parent, handle = handle, os.open(folder, flags | os.O_DIRECTORY, dir_fd=handle)
            os.close(parent)
        with open(os.open(name, flags, dir_fd=handle), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError(f"{relative} is no regular file")
            content = file.read(limit + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ValueError(f"{relative} is a link or can't be read: {error.strerror}") from error
    finally:
        os.close(handle)
    if len(content) > limit:
        raise ValueError(f"{relative} is larger than {limit} bytes")
    return content
