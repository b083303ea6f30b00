"""What was downloaded for or built from a benchmark's crate, kept for the next sandbox here that has the same one.

An entry is a folder named by a hash of all that went into it. It is made before any submission is there, from what the
benchmark brings alone; only its owner can reach the cache, and no jail sees it.
"""

import asyncio
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

DEFAULT_LIMIT = 5 << 30
_REMAINS_AGE = 3600
"""Seconds after which nobody can still be at work on something unfinished."""
_UNFINISHED = ".unfinished-"
_REMOVED = ".removed-"


@dataclass(frozen=True)
class Entry:
    path: Path
    size: int
    """Bytes on disk."""
    used_at: float
    """Seconds since the epoch."""

    @property
    def name(self) -> str:
        return self.path.name


@dataclass(frozen=True)
class BuildCache:
    """A folder of entries; without a folder, or with one that others can write to, nothing is kept."""

    folder: Path | None = None
    limit: int = DEFAULT_LIMIT
    """Bytes of all entries; those that were not used for longest go first."""

    async def restore(self, name: str, target: Path) -> bool:
        """Copy an entry's content into a folder, which may be there; False if there is no such entry."""
        return await asyncio.to_thread(self._restore, name, target)

    async def store(self, name: str, source: Path, parts: Iterable[str] | None = None) -> None:
        """Keep a folder's content, or of that only these names, as an entry. What can't be kept is built again."""
        await asyncio.to_thread(self._store, name, source, parts)

    def entries(self) -> list[Entry]:
        """By when they were used last, the latest first."""
        if self.folder is None or not self.folder.is_dir():
            return []
        found = [
            Entry(path, _size(path), path.stat().st_mtime)
            for path in self.folder.iterdir()
            if path.is_dir() and not path.name.startswith(".")
        ]
        return sorted(found, key=lambda entry: entry.used_at, reverse=True)

    def prune(self, limit: int | None = None) -> list[Entry]:
        """Remove what exceeds the limit, and what was left unfinished; returns the entries removed."""
        left, removed = self.limit if limit is None else limit, []
        self._remove_remains()
        for entry in self.entries():
            left -= entry.size
            if left < 0:
                _remove(entry.path)
                removed.append(entry)
        return removed

    def _remove_remains(self) -> None:
        """Of caches whose process was killed while it wrote or removed something."""
        for path in self.folder.glob(".*") if self.folder else ():
            if path.stat().st_mtime < time.time() - _REMAINS_AGE:
                shutil.rmtree(path, ignore_errors=True)

    def _restore(self, name: str, target: Path) -> bool:
        if (folder := self._usable()) is None or not (folder / name).is_dir():
            return False
        try:
            _copy_into(target, (folder / name).iterdir())
            os.utime(folder / name)
        except OSError as error:  # e.g. it was removed meanwhile
            logger.warning("Entry %s of the build cache can't be used: %s", name, error)
            return False
        return True

    def _store(self, name: str, source: Path, parts: Iterable[str] | None) -> None:
        if (folder := self._usable()) is None:
            return
        unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=folder))
        try:
            _copy_into(unfinished, source.iterdir() if parts is None else map(source.joinpath, parts))
            unfinished.rename(folder / name)
        except OSError as error:  # the disk is full, or another sandbox was faster
            logger.info("%s is not kept in the build cache: %s", name, error)
            shutil.rmtree(unfinished, ignore_errors=True)
        self.prune()

    def _usable(self) -> Path | None:
        """The folder, made if need be, if nobody but us can get at it."""
        if self.folder is None:
            return None
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        status = self.folder.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077:
            return self.folder
        logger.warning("The build cache %s is not used: it must be our own folder, of mode 0700.", self.folder)
        return None


def _copy_into(target: Path, sources: Iterable[Path]) -> None:
    """With their times, which cargo goes by."""
    target.mkdir(exist_ok=True)
    for source in sources:
        if source.is_dir() and not source.is_symlink():
            shutil.copytree(source, target / source.name, symlinks=True, dirs_exist_ok=True)
        elif source.is_symlink() or source.exists():
            shutil.copy2(source, target / source.name, follow_symlinks=False)


def _size(folder: Path) -> int:
    return sum(
        path.lstat().st_blocks * 512
        for parent, _, files in os.walk(folder)
        for path in map(Path(parent).joinpath, files)
    )


def _remove(path: Path) -> None:
    """At once as far as anybody can see: who copies it notices, and builds anew."""
    doomed = Path(tempfile.mkdtemp(prefix=_REMOVED, dir=path.parent))
    path.rename(doomed / path.name)
    shutil.rmtree(doomed)
