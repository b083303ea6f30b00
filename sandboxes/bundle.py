"""What is uploaded into a sandbox: the task app and one benchmark, as one archive named by its content."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

_LEFT_OUT = {"__pycache__", "target", ".git", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


class Bundle(NamedTuple):
    """A gzipped tar archive and the SHA-256 of its uncompressed content, in hex."""

    archive: bytes
    digest: str


def build(parts: Mapping[str, Path]) -> Bundle:
    """Pack each folder under its name. The same content gives the same digest, whatever its times and owners."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, folder in sorted(parts.items()):
            for path in _files(folder):
                tar.add(path, f"{name}/{path.relative_to(folder)}", recursive=False, filter=_anonymous)
    content = plain.getvalue()
    return Bundle(gzip.compress(content, compresslevel=3, mtime=0), hashlib.sha256(content).hexdigest())


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in _LEFT_OUT:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        else:
            yield path


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = 0
    member.mode = 0o755 if member.mode & 0o100 else 0o644
    return member
