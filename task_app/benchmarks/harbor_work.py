"""What an agent changed in a workspace of which all counts; and making the same changes elsewhere."""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from task_app.benchmarks.base import StoredFile, Task, Work
from task_app.collect import UnusableSource
from task_app.untrusted import read_untrusted

MOST_FILES = 20_000
MOST_BYTES = 256 << 20
"""Of all changed files together."""


def snapshot(folder: Path) -> dict[str, str]:
    """What can be told apart of each file, by relative path. Links are left out, and so is what cargo builds."""
    return {name: _fingerprint(_stored(folder, name, MOST_BYTES)) for name in _files(folder)}


def collect_changes(task: Task) -> Work:
    """Every file that is not what it was at the start.

    Raises:
        UnusableSource: they are more, or larger, than what is taken.
    """
    assert task.pristine is not None
    present, left = set(), MOST_BYTES
    changes: dict[str, StoredFile | None] = {}
    for name in _files(task.workspace):
        present.add(name)
        try:
            stored = _stored(task.workspace, name, left)
        except ValueError as error:
            raise UnusableSource(f"{error} (of {MOST_BYTES} in all).") from None
        if _fingerprint(stored) != task.pristine.get(name):
            changes[name] = stored
            left -= len(stored.content)
        if len(present) > MOST_FILES:
            raise UnusableSource(f"The workspace has more than {MOST_FILES} files.")
    changes |= {name: None for name in task.pristine if name not in present}
    listed = "".join(f"{_verb(name, changes, task.pristine)} {name}\n" for name in sorted(changes))
    return Work(listed.encode(errors="replace").decode(), changes)


def apply_changes(changes: Mapping[str, StoredFile | None], folder: Path) -> None:
    """Make the changes in a folder where the agent never was."""
    for name, stored in sorted(changes.items(), key=lambda change: change[1] is not None):  # removals first
        path = make_way(folder, name)
        if stored is not None:
            stored.write(path)


def make_way(folder: Path, name: str) -> Path:
    """The path of a file to be written, in folders of its own: no link is followed, and no file is in the way."""
    path = folder / name
    for parent in [folder / each for each in reversed(Path(name).parents[:-1])]:
        if parent.is_symlink() or parent.is_file():
            parent.unlink()
        parent.mkdir(exist_ok=True)
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    return path


def _files(folder: Path) -> Iterator[str]:
    for parent, directories, files in os.walk(folder):
        at = Path(parent)
        built = {"target"} if "Cargo.toml" in files else set()
        directories[:] = sorted(set(directories) - built - ({".git"} if at == folder else set()))
        for name in sorted(files):
            if (at / name).is_file() and not (at / name).is_symlink():
                yield str((at / name).relative_to(folder))


def _stored(folder: Path, name: str, limit: int) -> StoredFile:
    content = read_untrusted(folder, name, limit)
    return StoredFile(content, executable=bool((folder / name).lstat().st_mode & 0o100))


def _fingerprint(stored: StoredFile) -> str:
    return f"{hashlib.sha256(stored.content).hexdigest()}{'x' if stored.executable else ''}"


def _verb(name: str, changes: Mapping[str, StoredFile | None], pristine: Mapping[str, str]) -> str:
    if changes[name] is None:
        return "removed"
    return "changed" if name in pristine else "added"
