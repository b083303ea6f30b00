"""How a sandbox is confined: Linux namespaces, else bubblewrap, else not at all (and then it can't run commands).

A test double's isolation: it keeps sandboxes apart from each other and from the machine's /app, /tmp and ports, so that
a mistake in the code under test shows. It is no security boundary.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from . import namespace_init
from .namespace_init import CLONE_NEWNS, CLONE_NEWUSER, OWN, Plan

IsolationName = Literal["auto", "namespace", "bwrap", "none", "hollow"]

PACKAGE = Path(__file__).resolve().parent
CHECKOUT = PACKAGE.parents[1]
SANDBOX_RUN = "/run/daytona"
"""Inside a sandbox: the directory shared with the emulator (sockets) and the toolbox daemon's code."""

MOUNT_POINTS = ("/mnt", "/media", "/srv")
"""Directories of which one exists on any Linux; in the emulator's own mount namespace it holds a tmpfs."""

WRITABLE = ("/app", "/tmp", "/workspace", "/home-of-sandbox")
"""What a sandbox may write under bubblewrap; everything else is the machine's, read-only."""

QUOTAS = "cpu, memory and disk are recorded, not enforced"
ONE_USER = (
    "inside there is one user only, root: nothing can run as another, and what belongs to the machine's other users "
    "can't be changed (run the emulator as real root to lift this)"
)

logger = logging.getLogger(__name__)


class IsolationUnavailable(RuntimeError):
    """This machine doesn't allow the isolation; the message says why and what would help."""


@dataclass(frozen=True)
class Cell:
    """The place of one sandbox on disk.

    directory: holds `upper` (what it wrote), `shared` (sockets) and `scratch` (mount points)
    layers: upper directories of the image it starts from, newest first
    """

    directory: Path
    layers: tuple[Path, ...] = ()

    @property
    def upper(self) -> Path:
        return self.directory / "upper"

    @property
    def shared(self) -> Path:
        return self.directory / "shared"

    @property
    def scratch(self) -> Path:
        return self.directory / "scratch"

    def discard_sockets(self) -> None:
        """Remove what an earlier start left in the shared directory."""
        shutil.rmtree(self.shared, ignore_errors=True)
        self.shared.mkdir(parents=True)


class Isolation(Protocol):
    """A way to run a command in a cell."""

    name: str
    home: str

    @property
    def limits(self) -> list[str]:
        """What a sandbox can't do, or what isn't real about it, in plain words."""

    def argv(self, cell: Cell, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` inside the cell; IsolationUnavailable if there is no way."""


class NamespaceIsolation:
    """Own mount, pid, network, ipc and host name: a copy-on-write view of the machine, and its own ports."""

    name = "namespace"

    def __init__(self) -> None:
        self.home = os.environ.get("HOME", "/root")

    @property
    def limits(self) -> list[str]:
        return [QUOTAS, ONE_USER] if namespace_init.in_user_namespace() else [QUOTAS]

    def argv(self, cell: Cell, command: Sequence[str]) -> list[str]:
        cell.discard_sockets()
        # Mount points of an earlier start are gone with its namespace: begin with empty ones.
        shutil.rmtree(cell.scratch, ignore_errors=True)
        for directory in (cell.upper, cell.scratch):
            directory.mkdir(parents=True, exist_ok=True)
        plan = Plan(
            parent=os.getpid(),
            upper=str(cell.upper),
            scratch=str(cell.scratch),
            layers=[str(layer) for layer in cell.layers],
            hidden=[str(CHECKOUT)],
            homes=self._deep_home(),
            shown=_shown_despite_hiding(),
            shared={str(cell.shared): SANDBOX_RUN, str(PACKAGE / "toolbox"): f"{SANDBOX_RUN}-lib/toolbox"},
        )
        return [sys.executable, "-I", "-S", namespace_init.__file__, plan.to_json(), *command]

    def _deep_home(self) -> list[str]:
        # In a user namespace overlayfs can't copy the directories above it, which are root's: it is shown on its own.
        home = Path(self.home)
        return [self.home] if home.is_dir() and len(home.parts) > 2 and home.parts[1] not in OWN else []


class BubblewrapIsolation:
    """Own pids, ports and a few writable directories, through the `bwrap` tool where namespaces aren't for everyone."""

    name = "bwrap"
    home = "/home-of-sandbox"

    @property
    def limits(self) -> list[str]:
        writable = ", ".join(WRITABLE)
        return [QUOTAS, f"only {writable} can be written: install packages into a virtual environment there"]

    def argv(self, cell: Cell, command: Sequence[str]) -> list[str]:
        cell.discard_sockets()
        first_start = not cell.upper.exists()
        for path in WRITABLE:
            _upper_of(cell, path).mkdir(parents=True, exist_ok=True)
        if first_start:
            for layer in reversed(cell.layers):
                shutil.copytree(layer, cell.upper, symlinks=True, dirs_exist_ok=True)
        return ["bwrap", *self._options(cell), "--", *command]

    def _options(self, cell: Cell) -> list[str]:
        options = ["--die-with-parent", "--new-session", "--unshare-pid", "--unshare-net", "--unshare-ipc"]
        options += ["--tmpfs", "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/run"]
        for entry in sorted(os.scandir("/"), key=lambda entry: entry.name):
            if entry.is_symlink():
                options += ["--symlink", os.readlink(entry.path), entry.path]
            elif entry.is_dir() and entry.name not in OWN:
                options += ["--ro-bind", entry.path, entry.path]
        for path in WRITABLE:
            options += ["--bind", str(_upper_of(cell, path)), path]
        # Under a read-only directory a mount point can't be made: hide only what is there.
        if _top_level(CHECKOUT) not in OWN:
            options += ["--tmpfs", str(CHECKOUT)]
        for shown in _shown_despite_hiding():
            options += ["--ro-bind", shown, shown]
        options += ["--bind", str(cell.shared), SANDBOX_RUN]
        return [*options, "--ro-bind", str(PACKAGE / "toolbox"), f"{SANDBOX_RUN}-lib/toolbox"]


class NoIsolation:
    """Sandboxes exist in the API alone: every toolbox call and preview says so."""

    name = "none"
    home = "/root"

    @property
    def limits(self) -> list[str]:
        return ["no sandbox can run a command, hold a file or serve a preview: only the control plane works"]

    def argv(self, cell: Cell, command: Sequence[str]) -> list[str]:
        raise IsolationUnavailable(
            "this emulator runs with isolation 'none': it can't run commands. Allow user namespaces, run it as root, "
            "or install bubblewrap"
        )


class HollowIsolation(NoIsolation):
    """Nothing runs in a sandbox, but all is well in it: see hollow.py."""

    name = "hollow"

    @property
    def limits(self) -> list[str]:
        return ["nothing runs in a sandbox: it answers engine-bench alone, as if its task app were there"]


def choose(name: IsolationName) -> Isolation:
    """The isolation of that name, or for `auto` the best that works here; IsolationUnavailable says why it doesn't."""
    if name in ("none", "hollow"):
        return NoIsolation() if name == "none" else HollowIsolation()
    candidates: dict[str, Isolation] = {"namespace": NamespaceIsolation(), "bwrap": BubblewrapIsolation()}
    refusals = []
    for candidate in candidates.values() if name == "auto" else [candidates[name]]:
        refusal = _refusal(candidate)
        if not refusal:
            return candidate
        refusals.append(f"{candidate.name}: {refusal}")
    if name != "auto":
        raise IsolationUnavailable("; ".join(refusals))
    logger.warning("no isolation is allowed on this machine (%s): sandboxes can't run commands", "; ".join(refusals))
    return NoIsolation()


def _refusal(isolation: Isolation) -> str:
    """Why the isolation doesn't work here, found by a trial; empty if it does.

    The trial enters namespaces, from which there is no way back: it is made in a fork. Call this from a single thread.
    """
    reader, writer = os.pipe()
    trial = os.fork()
    if trial == 0:
        try:
            os.write(writer, _try_out(isolation).encode())
            os._exit(0)
        except (OSError, IsolationUnavailable) as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(1)
    os.close(writer)
    with open(reader, "rb") as pipe:
        reason = pipe.read().decode(errors="replace")
    worked = os.waitstatus_to_exitcode(os.waitpid(trial, 0)[1]) == 0
    return reason or ("" if worked else "its trial crashed")


def _try_out(isolation: Isolation) -> str:
    """Confine `true` as a sandbox would be confined; what it says when that fails."""
    if isolation.name == BubblewrapIsolation.name and not shutil.which("bwrap"):
        raise IsolationUnavailable("the bwrap command is not installed (Debian package: bubblewrap)")
    with run_directory(isolation) as directory:
        argv = isolation.argv(Cell(directory / "trial"), ["true"])
        done = subprocess.run(argv, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return "" if done.returncode == 0 else (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]


class RunDirectory:
    """A directory for the emulator's life, as a context manager; it is gone even after a SIGKILL."""

    def __init__(self, path: Path, janitor: subprocess.Popen[bytes] | None = None) -> None:
        self.path = path
        self._janitor = janitor

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *exception: object) -> None:
        if self._janitor:
            self._janitor.communicate()


def run_directory(isolation: Isolation) -> RunDirectory:
    """Where sandboxes live on disk. For namespaces this also moves the calling process into its own mount namespace."""
    return private_tmpfs() if isolation.name == NamespaceIsolation.name else swept_directory()


def private_tmpfs() -> RunDirectory:
    """A tmpfs that only this process and its children see; the kernel drops it with the last of them."""
    needed = [CHECKOUT, *(Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix))]
    for candidate in map(Path, MOUNT_POINTS):
        if candidate.is_dir() and not any(path.is_relative_to(candidate) for path in needed):
            enter_private_mounts()
            namespace_init.mount("emulator", candidate, "tmpfs", 0, "mode=755")
            return RunDirectory(candidate)
    raise IsolationUnavailable(f"no directory to mount on: of {', '.join(MOUNT_POINTS)} none is there, or free")


def enter_private_mounts() -> None:
    """New mount namespace; without the right to it, inside a new user namespace that maps this user to root."""
    uid, gid = os.getuid(), os.getgid()
    try:
        namespace_init.unshare(CLONE_NEWNS)
    except PermissionError:
        namespace_init.unshare(CLONE_NEWUSER | CLONE_NEWNS)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    namespace_init.make_mounts_private()


def swept_directory() -> RunDirectory:
    """A temporary directory, deleted by a process that waits for this one to let go of a pipe, however it ends."""
    directory = tempfile.mkdtemp(prefix="daytona-emulator-")
    janitor = subprocess.Popen(
        ["/bin/sh", "-c", 'read -r _; rm -rf -- "$1"', "janitor", directory],
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    return RunDirectory(Path(directory), janitor)


def _upper_of(cell: Cell, path: str) -> Path:
    return cell.upper / path.lstrip("/")


def _shown_despite_hiding() -> list[str]:
    """The interpreter's directories that lie under something hidden (a checkout's .venv, say)."""
    prefixes = dict.fromkeys(os.path.realpath(prefix) for prefix in (sys.prefix, sys.base_prefix))
    hidden = (CHECKOUT, *(Path("/", name) for name in OWN))
    return [prefix for prefix in prefixes if any(Path(prefix).is_relative_to(each) for each in hidden)]


def _top_level(path: Path) -> str:
    return path.parts[1]
