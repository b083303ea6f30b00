"""How an untrusted process (an agent, a compile, a test binary) is confined.

Three levels, by what the machine allows; `Isolation.detect` tries each:

- `namespace`: a process tree of its own (gone with its first process), no network but a loopback with doors (doors.py),
  one of which may lead to the internet (internet.py), and a root that holds the system's directories read only, the
  jail's workspace, its other binds, and nothing else. As root the process runs as an unprivileged user; else in a user
  namespace without any capability.
- `user`: root without namespaces (an unprivileged container). The process runs as an unprivileged user and sees real
  paths.
- `process`: neither. Only limits, an environment of its own, and the end of all its processes.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from task_app import processes
from task_app.doors import Door, Entrance, entrance
from task_app.errors import InfrastructureFailure
from task_app.internet import VARIABLES, internet
from task_app.jail_root import SYSTEM_DIRECTORIES, Bind, lay_out
from task_app.processes import Completed, OnOutput
from task_app.users import PROBE_UIDS, hold

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
WORKSPACE = Path("/workspace")
"""Where a jail with a root of its own has its workspace, unless it says otherwise."""
HOME = Path("/home/agent")

_LAUNCHER = Path(__file__).with_name("jail.sh")
_MIB = 1 << 20
_PROBED_PORT = 1024


class Level(StrEnum):
    NAMESPACE = "namespace"
    USER = "user"
    PROCESS = "process"


@dataclass(frozen=True)
class Limits:
    """Per process, except `processes` and `scratch`. Sizes in bytes; None: no limit."""

    memory: int | None = None
    """Address space."""
    file_size: int = 1024 * _MIB
    processes: int = 512
    """Threads included; where the jail has a user of its own."""
    scratch: int = 512 * _MIB
    """What may be written to /tmp, and to /dev/shm, where the jail has a root of its own."""


@dataclass(frozen=True)
class Jail:
    """What a process may see and use."""

    workspace: Path
    """The working directory."""
    uid: int
    """User and group that it runs as where we are root (users.py): limits are per user, and at level `user` all
    processes of the user are killed at the end. The workspace must be its own: `hand_over`."""
    place: Path = WORKSPACE
    """Where a jail with a root of its own has it."""
    writable: bool = True
    """Whether the workspace may be written."""
    home: Path | None = None
    """A writable directory to be HOME; None: a fresh one, gone afterwards."""
    binds: tuple[Bind, ...] = ()
    network: bool = False
    """Whether it reaches the internet, by a proxy. At the levels below `namespace` all share this machine's network."""
    limits: Limits = field(default_factory=Limits)
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to PATH, HOME, TMPDIR and LANG; nothing else is inherited."""


@dataclass(frozen=True)
class Isolation:
    """The confinement that this machine allows."""

    level: Level
    hidden: tuple[Path, ...] = ()
    """Directories that no jail may see, even inside the system's directories."""

    @classmethod
    async def detect(cls, workspaces: Path, hidden: Sequence[Path] = ()) -> "Isolation":
        """The strongest level at which a process really runs and reaches a directory in `workspaces` (must exist)."""
        for level in Level:
            isolation = cls(level, tuple(path.resolve() for path in hidden))
            with _probe(workspaces) as probe:
                isolation.hand_over(probe.workspace, probe.uid)
                if await isolation._works(probe):
                    return isolation
        raise InfrastructureFailure(f"No process can be run in {workspaces}. Is the directory on a usable disk?")

    async def reaching(self, program: Path, workspaces: Path) -> "Isolation":
        """This one, or level `process` where the jails' user can't run a program of ours, e.g. one in /root."""
        if self.level is not Level.USER:
            return self
        with _probe(workspaces) as probe:
            tried = await self.run(probe, ["test", "-x", str(program)], timeout=20)
        return self if tried.exit_code == 0 else replace(self, level=Level.PROCESS)

    @property
    def has_own_root(self) -> bool:
        """Whether the jail's paths differ from the host's."""
        return self.level is Level.NAMESPACE

    @property
    def has_own_network(self) -> bool:
        """Whether a jail sees no network but a loopback of its own."""
        return self.level is Level.NAMESPACE

    def inside(self, jail: Jail, path: Path) -> Path:
        """What a path of the host is called in the jail.

        Raises:
            ValueError: the jail can't see it.
        """
        if not self.has_own_root:
            return path
        for bind in _binds(jail):
            if path.is_relative_to(bind.source):
                return bind.inside / path.relative_to(bind.source)
        if any(path.is_relative_to(directory) for directory in SYSTEM_DIRECTORIES):
            return path
        raise ValueError(f"{path} is not in the jail of {jail.workspace}")

    def hand_over(self, tree: Path, uid: int) -> None:
        """Make a directory and all in it belong to a jail's user, where jails have one."""
        if os.geteuid() != 0 or self.level is Level.PROCESS:
            return
        os.chown(tree, uid, uid, follow_symlinks=False)
        for folder, directories, files in os.walk(tree):
            for name in (*directories, *files):
                os.chown(os.path.join(folder, name), uid, uid, follow_symlinks=False)

    def admit(self, folder: Path, owner: int, reader: int) -> None:
        """Let two users alone into a directory, one to write and one to read; ourselves where jails are no others."""
        if os.geteuid() != 0 or self.level is Level.PROCESS:
            folder.chmod(0o700)
            return
        os.chown(folder, owner, reader)
        folder.chmod(0o750)

    async def run(
        self,
        jail: Jail,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes | None = None,
        output_limit: int = _MIB,
        on_output: OnOutput | None = None,
        grace: float = 5.0,
        doors: Sequence[Door] = (),
    ) -> Completed:
        """Run a program (a path or name inside the jail) to its end; arguments as of `processes.run`.

        Args:
            doors: by which it reaches us where the jail has a network of its own; elsewhere they need no opening.

        Raises:
            InfrastructureFailure: the jail can't be set up, or the program is not there.
        """
        async with contextlib.AsyncExitStack() as stack:
            launch = stack.enter_context(_launch_directory())
            way_out = [await stack.enter_async_context(internet())] if self._reaches_out(jail) else []
            opening = stack.enter_context(entrance([*doors, *way_out] if self.has_own_network else ()))
            environment = self._environment(jail, launch)
            if not self.has_own_root and shutil.which(argv[0], path=environment["PATH"]) is None:
                raise InfrastructureFailure(f"The program '{argv[0]}' is not there, or not executable.")
            completed = await processes.run(
                self._command(jail, argv, launch, opening),
                cwd=jail.workspace,
                env=environment,
                timeout=timeout,
                stdin=stdin,
                output_limit=output_limit,
                on_output=on_output,
                grace=grace,
                uid=jail.uid if self.level is Level.USER else None,
                contained=self.has_own_root,
                inherited=opening.descriptors,
            )
            if self.has_own_root:
                _check_started(launch, completed, argv)
        return _with_signal(completed)

    def _command(self, jail: Jail, argv: Sequence[str], launch: Path, opening: Entrance) -> list[str]:
        as_root = os.geteuid() == 0
        limits = _limit_words(jail.limits, own_user=as_root and self.level is not Level.PROCESS)
        if self.level is Level.PROCESS:
            return [*limits, *argv]
        if self.level is Level.USER:
            self.hand_over(launch, jail.uid)
            return [*limits, *_drop_words(jail.uid), *argv]
        lay_out(launch, _binds(jail), self.hidden, jail.limits.scratch)
        return [
            _required("unshare"),
            *(() if as_root else ("--user", "--map-root-user")),
            *("--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child=KILL"),
            "--net",
            *opening.words,
            *("/bin/sh", str(_LAUNCHER), str(launch), str(jail.place)),
            *limits,
            *_drop_words(jail.uid if as_root else None),
            *("--", *argv),
        ]

    def _environment(self, jail: Jail, launch: Path) -> dict[str, str]:
        scratch = Path("/tmp") if self.has_own_root else launch  # noqa: S108 - the jail's own
        home = scratch if jail.home is None else self.inside(jail, jail.home)
        base = {"PATH": SYSTEM_PATH, "HOME": str(home), "TMPDIR": str(scratch), "LANG": "C.UTF-8"}
        return {**base, **(VARIABLES if self._reaches_out(jail) else {}), **jail.environment}

    def _reaches_out(self, jail: Jail) -> bool:
        """Whether it needs our proxy for that."""
        return self.has_own_network and jail.network

    async def _works(self, probe: Jail) -> bool:
        try:
            with Door(_PROBED_PORT) as door:
                touch = ["touch", str(self.inside(probe, probe.workspace) / "reached")]
                completed = await self.run(probe, touch, timeout=20, doors=[door])
        except InfrastructureFailure:
            return False
        return completed.exit_code == 0


def _binds(jail: Jail) -> tuple[Bind, ...]:
    """All binds, in the order in which they are mounted: a later one may lie inside an earlier one's target."""
    home = () if jail.home is None else (Bind(jail.home, HOME, writable=True),)
    return (*jail.binds, *home, Bind(jail.workspace, jail.place, writable=jail.writable))


@contextmanager
def _probe(workspaces: Path) -> Iterator[Jail]:
    """A jail to try something in."""
    with tempfile.TemporaryDirectory(dir=workspaces, prefix="probe-") as folder, hold(PROBE_UIDS) as user:
        yield Jail(Path(folder), uid=user.uid)


@contextmanager
def _launch_directory() -> Iterator[Path]:
    """An empty directory: where a jail's root is laid out, or HOME and TMPDIR of a process without one."""
    with tempfile.TemporaryDirectory(prefix="engine-bench-jail-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


def _check_started(launch: Path, completed: Completed, argv: Sequence[str]) -> None:
    status = launch / "status"
    reached = status.read_text().strip() if status.exists() else ""
    if reached == "missing":
        raise InfrastructureFailure(f"The program '{argv[0]}' is not there, or not executable, in the jail.")
    if reached != "ready" and not completed.timed_out:
        raise InfrastructureFailure(f"The jail for '{argv[0]}' could not be set up: {completed.stderr.strip()}")


def _with_signal(completed: Completed) -> Completed:
    """The jail's init reports a command that was killed in the way of a shell: 128 + signal."""
    if completed.exit_code is None or not 128 < completed.exit_code <= 128 + 64:
        return completed
    return replace(completed, exit_code=None, signal=completed.exit_code - 128)


def _drop_words(uid: int | None) -> list[str]:
    """For good: an unprivileged user where we are root, no capability and no way to any, set-uid programs included."""
    user = () if uid is None else ("--reuid", str(uid), "--regid", str(uid), "--clear-groups")
    return [_required("setpriv"), *user, "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]


def _limit_words(limits: Limits, own_user: bool) -> list[str]:
    prlimit = shutil.which("prlimit", path=SYSTEM_PATH)
    if prlimit is None:  # not Linux
        memory = "" if limits.memory is None else f"ulimit -v {limits.memory // 1024} 2>/dev/null;"
        return ["/bin/sh", "-c", f'ulimit -c 0; {memory} ulimit -f {limits.file_size // 512}; exec "$@"', "limits"]
    memory_words = () if limits.memory is None else (f"--as={limits.memory}",)
    # of a user that is not the jail's own, all its other processes would count too
    process_words = (f"--nproc={limits.processes}",) if own_user else ()
    return [prlimit, "--core=0", f"--fsize={limits.file_size}", *process_words, *memory_words]


def _required(program: str) -> str:
    found = shutil.which(program, path=SYSTEM_PATH)
    if found is None:
        raise InfrastructureFailure(f"'{program}' (util-linux) is not installed.")
    return found
