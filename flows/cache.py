"""What is kept on this machine to be used again: builds of benchmarks' crates, and fetched clones."""

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group
from rich.table import Table

from core.settings import Settings
from flows import fetch
from task_app.build_cache import BuildCache


@dataclass(frozen=True)
class Cleaned:
    entries: int
    size: int
    """Bytes."""


def show(settings: Settings) -> Group:
    """All that is kept, with its size and when it was used last."""
    builds = _builds(settings)
    kept = builds.entries()
    total = sum(entry.size for entry in kept)
    clones = _clones(settings)
    told = f"{_mib(total)} of at most {_mib(builds.limit)} of builds are kept in {settings.builds_dir}"
    if not (kept or clones):
        return Group(told)
    table = Table("what", "size", "last used")
    for entry in kept:
        table.add_row(entry.name[:24], _mib(entry.size), _when(entry.used_at))
    for clone in clones:
        table.add_row(f"clone {clone.name}", _mib(_size(clone)), _when(clone.stat().st_mtime))
    return Group(table, told)


def clean(settings: Settings, *, clones: bool = False) -> Cleaned:
    """Remove all builds, and fetched clones if asked to. Sandboxes that run go on: they have copies of their own."""
    removed = _builds(settings).prune(0)
    entries, size = len(removed), sum(entry.size for entry in removed)
    for clone in _clones(settings) if clones else []:
        entries, size = entries + 1, size + _size(clone)
        shutil.rmtree(clone)
    return Cleaned(entries, size)


def cleaned_text(cleaned: Cleaned) -> str:
    return f"Removed {cleaned.entries} {'entry' if cleaned.entries == 1 else 'entries'}, {_mib(cleaned.size)}."


def _builds(settings: Settings) -> BuildCache:
    return BuildCache(settings.builds_dir, settings.builds_limit)


def _clones(settings: Settings) -> list[Path]:
    folder = fetch.clones_dir(settings)
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _size(folder: Path) -> int:
    files = (Path(parent) / name for parent, _, names in os.walk(folder) for name in names)
    return sum(path.lstat().st_blocks * 512 for path in files)


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
