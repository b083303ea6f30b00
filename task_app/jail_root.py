"""Lays out the root directory of a jail: mount points on disk, and the table of what is to be mounted there."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SYSTEM_DIRECTORIES = tuple(
    Path(path) for path in ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc")
)
_DEVICES = tuple(Path("/dev") / name for name in ("null", "zero", "full", "random", "urandom", "tty"))
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}


@dataclass(frozen=True)
class Bind:
    """A file or directory of the host that the jail needs. Ignored where the jail has no root of its own."""

    source: Path
    target: Path | None = None
    """Where the jail has it, an absolute path outside the system's directories; None: the same path."""
    writable: bool = False

    @property
    def inside(self) -> Path:
        return self.target or self.source


@dataclass(frozen=True)
class _Mount:
    """A line of a mount table, fstab(5)."""

    source: str
    target: Path
    kind: str
    options: str

    def line(self) -> str:
        return " ".join((_escape(self.source), _escape(str(self.target)), self.kind, self.options, "0", "0"))


def lay_out(launch: Path, binds: Sequence[Bind], hidden: Iterable[Path], scratch: int) -> None:
    """Make `launch`/root and `launch`/fstab.

    Args:
        binds: in order; a later one may lie inside an earlier one's target.
        hidden: directories to be empty in the jail, should they lie inside a system directory.
        scratch: bytes that may be written to /tmp and to /dev/shm each.
    """
    root = launch / "root"
    for folder in ("proc", "tmp", "dev/shm", ".host"):
        (root / folder).mkdir(parents=True)
    for name, target in _LINKS.items():
        (root / "dev" / name).symlink_to(target)
    system = []
    for directory in SYSTEM_DIRECTORIES:
        if directory.is_symlink():
            (root / directory.relative_to("/")).symlink_to(os.readlink(directory))
        elif directory.is_dir():
            system.append(Bind(directory))
    mounts = [
        # read only, and it must be a mount itself: see pivot_root(2)
        _Mount(str(root), root, "none", "bind,ro"),
        # the init process runs as root in the jail; its command line and environment are no one's business
        _Mount("proc", root / "proc", "proc", "nosuid,nodev,noexec,hidepid=2"),
        _Mount("tmp", root / "tmp", "tmpfs", f"size={scratch},mode=1777,nosuid,nodev"),
        _Mount("shm", root / "dev/shm", "tmpfs", f"size={scratch},mode=1777,nosuid,nodev"),
        *(_bind(root, Bind(device, writable=True)) for device in _DEVICES if device.exists()),
        *(_bind(root, bind) for bind in (*system, *binds)),
        *(
            _Mount("hidden", root / path.relative_to("/"), "tmpfs", "ro,size=4k,mode=000")
            for path in _in_system(hidden)
        ),
    ]
    for folder, _, _ in os.walk(root):
        Path(folder).chmod(0o755)  # whatever our umask is, the jail's user has to pass
    (launch / "fstab").write_text("".join(mount.line() + "\n" for mount in mounts))


def _bind(root: Path, bind: Bind) -> _Mount:
    target = root / bind.inside.relative_to("/")
    if bind.source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    return _Mount(str(bind.source), target, "none", "rbind" if bind.writable else "rbind,ro")


def _in_system(paths: Iterable[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir() and any(path.is_relative_to(directory) for directory in SYSTEM_DIRECTORIES):
            yield path


def _escape(text: str) -> str:
    for character in "\\ \t\n":
        text = text.replace(character, f"\\{ord(character):03o}")
    return text
