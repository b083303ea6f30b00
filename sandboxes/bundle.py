"""What is uploaded into a sandbox: the task app and one benchmark, as one archive named by its content."""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from core.errors import ConfigurationError

_LEFT_OUT = {"__pycache__", "target", ".git", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


class Bundle(NamedTuple):
    """A gzipped tar archive and the SHA-256 of its uncompressed content, in hex."""

    archive: bytes
    digest: str


def build(parts: Mapping[str, Path]) -> Bundle:
    """Pack each folder under its name. The same content gives the same digest, whatever its times and owners.

    Raises:
        ConfigurationError: a folder is missing, or holds a link that leads out of it or a thing that is no file.
    """
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, folder in sorted(parts.items()):
            if not folder.is_dir():
                raise ConfigurationError(f"There is no folder {folder} to take into the sandbox as `{name}`.")
            for path in _files(folder):
                _add(tar, f"{name}/{path.relative_to(folder)}", path, folder)
    content = plain.getvalue()
    return Bundle(gzip.compress(content, compresslevel=3, mtime=0), hashlib.sha256(content).hexdigest())


def check(bundle: Bundle) -> None:
    """Raises what `unpack` would raise, and writes nothing."""
    for _ in _contents(bundle):
        pass


def unpack(bundle: Bundle, folder: Path) -> None:
    """Write the bundle's files below `folder`, which must be there, and empty.

    Raises:
        ConfigurationError: it is no archive, not the one that its digest names, or holds more than plain files.
    """
    for member, content in _contents(bundle):
        target = folder / member.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as file:
            file.write(content)
        target.chmod(0o755 if member.mode & 0o100 else 0o644)


def _contents(bundle: Bundle) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """Each file of the bundle, with its content."""
    try:
        content = gzip.decompress(bundle.archive)
        if hashlib.sha256(content).hexdigest() != bundle.digest:
            raise ConfigurationError("The bundle's content and its digest differ. Build it again.")
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            for member in tar:
                yield member, _read(tar, member)
    except (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ConfigurationError(f"The bundle can't be unpacked ({error}). Build it again.") from error


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in _LEFT_OUT:
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        else:
            yield path


def _add(tar: tarfile.TarFile, name: str, path: Path, folder: Path) -> None:
    """A link is packed as what it points to, so that an archive holds plain files alone."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ConfigurationError(f"{path} is a link that leads out of {folder}. Replace it by the file itself.")
    if not path.is_file():
        raise ConfigurationError(f"{path} is neither a file nor a folder. Remove it from {folder}.")
    # By hand, as tar.gettarinfo would take owners, times and hard links from how the files came to lie on this disk.
    content = path.read_bytes()
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
    tar.addfile(member, io.BytesIO(content))


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    # Stricter than tarfile's own filter for data, which early releases of Python 3.11 don't have.
    path = PurePosixPath(member.name)
    source = tar.extractfile(member) if member.isreg() else None
    if source is None or path.is_absolute() or ".." in path.parts:
        raise ConfigurationError(f"The bundle holds {member.name!r}, which is no file inside of it. Build it again.")
    return source.read()
