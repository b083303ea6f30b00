"""Process 1 of a sandbox: builds the sandbox's own view of the machine, then runs the toolbox daemon in it.

Run as a script with the standard library alone (`python -I -S namespace_init.py PLAN COMMAND...`), so that a sandbox
boots in a few milliseconds and needs no tool such as unshare, mount or ip. PLAN is a `Plan` in JSON.

    emulator > supervisor (waits, and takes its child with it) > init (pid 1 of the sandbox, reaps) > toolbox daemon

Every link asks the kernel to be killed when its parent dies, and the death of pid 1 ends all processes of its
namespace: killing any link, the emulator included, leaves nothing behind.

The root is a tmpfs overlay, and each top-level directory of the machine (/usr, /etc, /root...) a copy-on-write overlay
on top of it, rather than one overlay of `/`: the kernel refuses the latter in a user namespace, and it would not show
directories that are mounts of their own.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from urllib.parse import quote

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG = 1
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1

OWN = frozenset({"app", "boot", "dev", "lost+found", "media", "mnt", "proc", "run", "sys", "tmp", "workspace"})
"""Top-level names of which a sandbox has its own, empty at first, whatever the machine has there."""

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Plan:
    """What one sandbox sees. All paths are absolute and of the machine.

    parent: pid of the process that must outlive the sandbox
    upper: directory that keeps what the sandbox writes; it survives a stop, and may serve as a layer later
    scratch: directory for mount points and the overlays' work directories
    layers: upper directories of earlier builds, newest first
    homes: directories below a top-level one that get an overlay of their own
    hidden: directories that the sandbox must not see
    shown: directories visible at their own path (copy on write) even where something above them is hidden
    shared: machine's directory -> sandbox's path, seen by both
    """

    parent: int
    upper: str
    scratch: str
    layers: list[str]
    homes: list[str]
    hidden: list[str]
    shown: list[str]
    shared: dict[str, str]

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Move this process into new namespaces; OSError where the kernel refuses."""
    _check(_libc.unshare(flags), "unshare")


def mount(source: str | None, target: Path, kind: str | None = None, flags: int = 0, data: str = "") -> None:
    """mount(2); OSError names the target."""
    arguments = (source, os.fspath(target), kind)
    encoded = [None if a is None else os.fsencode(a) for a in arguments]
    _check(_libc.mount(*encoded, ctypes.c_ulong(flags), data.encode()), f"mount {kind or 'bind'} on {target}")


def make_mounts_private() -> None:
    """Keep every later mount of this mount namespace out of the machine's."""
    mount(None, Path("/"), flags=MS_REC | MS_PRIVATE)


def die_with_parent() -> None:
    """Ask the kernel for SIGKILL when the parent dies."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")


def raise_loopback() -> None:
    """Bring `lo` up in this network namespace."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sh14x", b"lo", 0)
        flags = struct.unpack("16sh14x", fcntl.ioctl(sock, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


class View:
    """The sandbox's root, under construction in `<scratch>/root`."""

    def __init__(self, plan: Plan, in_user_namespace: bool) -> None:
        self.plan = plan
        self.root = Path(plan.scratch, "root")
        # Outside a user namespace overlayfs keeps its marks in trusted.* attributes, which need real root.
        self.options = ",userxattr" if in_user_namespace else ""

    def build(self) -> Path:
        skeleton = Path(self.plan.scratch, "skeleton")
        skeleton.mkdir()
        self._overlay("/", lower=skeleton)
        for entry in sorted(os.scandir("/"), key=lambda entry: entry.name):
            self._add_top_level(entry)
        self._add_own_directories()
        self._add_devices()
        for path in self.plan.homes:
            self._show(path)
        for path in self.plan.hidden:
            if Path(path).parts[1] not in OWN and self.inside(path).is_dir():
                mount("hidden", self.inside(path), "tmpfs")
        for path in self.plan.shown:
            self._show(path)
        for source, path in self.plan.shared.items():
            self.inside(path).mkdir(parents=True)
            mount(source, self.inside(path), flags=MS_BIND)
        return self.root

    def inside(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def _add_top_level(self, entry: os.DirEntry[str]) -> None:
        target = self.root / entry.name
        if entry.name in OWN:
            return
        if entry.is_symlink():
            if not target.is_symlink():
                target.symlink_to(os.readlink(entry.path))
        elif entry.is_dir():
            target.mkdir(exist_ok=True)
            self._show(entry.path)

    def _add_own_directories(self) -> None:
        for name in sorted(OWN):
            (self.root / name).mkdir(exist_ok=True)
        for name, mode in (("run", "755"), ("tmp", "1777")):
            mount(name, self.root / name, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode}")
        mount("proc", self.root / "proc", "proc")

    def _add_devices(self) -> None:
        dev = self.root / "dev"
        mount("dev", dev, "tmpfs", MS_NOSUID, "mode=755")
        for name in filter(lambda name: Path("/dev", name).exists(), DEVICES):
            (dev / name).touch()
            mount(f"/dev/{name}", dev / name, flags=MS_BIND)
        for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
            (dev / name).symlink_to(f"/proc/self/fd{target}")
        (dev / "shm").mkdir(mode=0o1777)
        (dev / "pts").mkdir()
        mount("devpts", dev / "pts", "devpts", MS_NOSUID, "newinstance,ptmxmode=0666,mode=0620")
        (dev / "ptmx").symlink_to("pts/ptmx")

    def _show(self, path: str) -> None:
        self.inside(path).mkdir(parents=True, exist_ok=True)
        try:
            self._overlay(path, lower=Path(path))
        except OSError:
            # A directory that holds mounts of its own can't be an overlay's lower one in a user namespace.
            mount(path, self.inside(path), flags=MS_BIND | MS_REC)
            mount(None, self.inside(path), flags=MS_BIND | MS_REMOUNT | MS_RDONLY | _locked_flags(self.inside(path)))

    def _overlay(self, path: str, lower: Path) -> None:
        name = quote(path, safe="")
        target, upper = self.inside(path), Path(self.plan.upper, name)
        work = Path(self.plan.scratch, "work", name)
        for directory in (target, upper, work):
            directory.mkdir(parents=True, exist_ok=True)
        layers = [layer for layer in (Path(each, name) for each in self.plan.layers) if layer.is_dir()]
        lowers = ":".join(str(each) for each in (*layers, lower))
        mount("overlay", target, "overlay", 0, f"lowerdir={lowers},upperdir={upper},workdir={work}{self.options}")


def _locked_flags(path: Path) -> int:
    # In a user namespace a remount must keep the flags that the machine's mount has.
    return os.statvfs(path).f_flag & (os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | os.ST_NOATIME)


def in_user_namespace() -> bool:
    """Whether this process's ids are mapped, i.e. its root is not the machine's."""
    return Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]


def supervise(init: int) -> int:
    """Wait for pid 1 of the sandbox; on SIGTERM kill it first. When this returns, all its processes are gone."""

    def stop(number: int, frame: FrameType | None) -> None:
        os.kill(init, signal.SIGKILL)

    signal.signal(signal.SIGTERM, stop)
    return os.waitstatus_to_exitcode(os.waitpid(init, 0)[1])


def run_and_reap(command: Sequence[str]) -> int:
    """Be pid 1: run the command, reap whatever is orphaned, and return when the command ends."""
    main = os.fork()
    if main == 0:
        os.setsid()
        os.execvp(command[0], list(command))
    while True:
        pid, status = os.wait()
        if pid == main:
            return os.waitstatus_to_exitcode(status)


def fork_init(child: Callable[[], int]) -> int:
    """Fork pid 1 of the new pid namespace, which runs `child`, and supervise it."""
    parent_is_alive, held_by_parent = os.pipe()
    init = os.fork()
    if init:
        return supervise(init)
    os.close(held_by_parent)
    die_with_parent()
    if select.select([parent_is_alive], [], [], 0)[0]:  # the parent died before the line above
        return 1
    return child()


def main(arguments: Sequence[str]) -> int:
    plan, command = Plan(**json.loads(arguments[0])), arguments[1:]
    die_with_parent()
    if os.getppid() != plan.parent:
        return 1
    mapped = in_user_namespace()
    unshare(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS)

    def init() -> int:
        make_mounts_private()
        root = View(plan, mapped).build()
        raise_loopback()
        os.chroot(root)
        os.chdir("/")
        return run_and_reap(command)

    return fork_init(init)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
