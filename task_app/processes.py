"""Run one program to its end, with bounded output, and leave nothing of it behind."""

import asyncio
import contextlib
import os
import secrets
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from task_app.errors import InfrastructureFailure

Stream = Literal["stdout", "stderr"]
OnOutput = Callable[[Stream, bytes], None]

FLOOD_FACTOR = 16
"""A program that writes more than this many times `output_limit` to one stream is killed."""

_MARK = "ENGINE_BENCH_PROCESS_TREE"
"""Environment variable that marks all descendants of one run, so that those that left its session are found too."""


@dataclass(frozen=True)
class Completed:
    """How a program ended and the tail of what it wrote."""

    exit_code: int | None
    """None where a signal ended it."""
    signal: int | None
    stdout: str
    stderr: str
    """Each at most `output_limit` bytes; where more was written the tail is kept and the first line says so."""
    output_cut: bool
    timed_out: bool
    output_exceeded: bool
    """It was killed since it wrote without end."""
    duration: float
    """Seconds."""


async def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout: float,
    stdin: bytes | None = None,
    output_limit: int = 1 << 20,
    on_output: OnOutput | None = None,
    grace: float = 5.0,
    uid: int | None = None,
    contained: bool = False,
    inherited: Sequence[int] = (),
) -> Completed:
    """Run `argv` in a session of its own, and return when it and all its descendants are gone.

    That also holds on timeout (TERM, `grace` seconds, KILL) and when the awaiting task is cancelled (KILL at once).

    Args:
        env: the whole environment; nothing is inherited.
        timeout: seconds of wall clock.
        stdin: what the program reads; it then sees the end of file. None: it sees the end at once.
        output_limit: bytes kept of each stream, the tail.
        on_output: called with each chunk as it comes, before it is cut; must not block.
        uid: a user that runs nothing but this; all of its processes are killed at the end.
        contained: the program leads a process namespace, so that nothing outlives it and no search is needed.
        inherited: descriptors that it is given beside its standard streams.

    Raises:
        InfrastructureFailure: the program or the working directory is not there, or can't be executed.
    """
    mark = secrets.token_hex(16)
    program = _Program(output_limit, on_output)
    started = time.monotonic()
    transport = await _start(program, argv, stdin, cwd=cwd, env={**env, _MARK: mark}, inherited=inherited)
    tree = _Tree(transport.get_pid(), mark, uid, contained)
    timed_out = False
    try:
        timed_out = not await program.wait(timeout)
        if timed_out:
            tree.signal_group(signal.SIGTERM)
            await program.wait(grace)
    finally:
        await asyncio.shield(_finish(program, tree, transport))
    code = transport.get_returncode()
    assert code is not None
    return Completed(
        exit_code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        stdout=program.streams[1].text(),
        stderr=program.streams[2].text(),
        output_cut=any(stream.cut for stream in program.streams.values()),
        timed_out=timed_out,
        output_exceeded=program.flooded.is_set(),
        duration=time.monotonic() - started,
    )


async def _start(
    program: "_Program",
    argv: Sequence[str],
    stdin: bytes | None,
    *,
    cwd: Path,
    env: Mapping[str, str],
    inherited: Sequence[int],
) -> asyncio.SubprocessTransport:
    try:
        transport, _ = await asyncio.get_running_loop().subprocess_exec(
            lambda: program,
            *argv,
            cwd=cwd,
            env=env,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            start_new_session=True,
            umask=0o022,
            pass_fds=inherited,
        )
    except OSError as error:
        raise InfrastructureFailure(_why_not(argv[0], cwd, error)) from error
    if stdin is not None:
        pipe = cast(asyncio.WriteTransport, transport.get_pipe_transport(0))
        pipe.write(stdin)
        pipe.close()
    return transport


def _why_not(program: str, cwd: Path, error: OSError) -> str:
    if not cwd.is_dir():
        return f"The working directory {cwd} does not exist, so '{program}' can't be run there."
    if isinstance(error, FileNotFoundError):
        return f"The program '{program}' does not exist."
    return f"'{program}' can't be run in {cwd}: {error.strerror or error}."


async def _finish(program: "_Program", tree: "_Tree", transport: asyncio.SubprocessTransport) -> None:
    await tree.kill(program)
    await program.closed.wait()
    transport.close()


@dataclass
class _Tail:
    """The last `limit` bytes of a stream."""

    limit: int
    chunks: deque[bytes] = field(default_factory=deque)
    kept: int = 0
    total: int = 0

    def add(self, chunk: bytes) -> None:
        self.chunks.append(chunk)
        self.total += len(chunk)
        self.kept += len(chunk)
        while self.kept - len(self.chunks[0]) >= self.limit:
            self.kept -= len(self.chunks.popleft())

    @property
    def cut(self) -> bool:
        return self.total > self.limit

    def text(self) -> str:
        content = b"".join(self.chunks)
        if not self.cut:
            return content.decode(errors="replace")
        note = f"[{self.total - self.limit} bytes cut]\n".encode()
        return (note + content[-max(self.limit - len(note), 0) :])[: self.limit].decode(errors="replace")


class _Program(asyncio.SubprocessProtocol):
    """Collects output and knows when the program has exited, and when its pipes are closed (maybe much later)."""

    def __init__(self, output_limit: int, on_output: OnOutput | None) -> None:
        self.streams = {1: _Tail(output_limit), 2: _Tail(output_limit)}
        self.exited = asyncio.Event()
        self.flooded = asyncio.Event()
        self.closed = asyncio.Event()
        self._on_output = on_output
        self._flood_limit = output_limit * FLOOD_FACTOR

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        stream = self.streams[fd]
        stream.add(data)
        if self._on_output is not None:
            self._on_output("stdout" if fd == 1 else "stderr", data)
        if stream.total > self._flood_limit:
            self.flooded.set()

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()

    async def wait(self, timeout: float) -> bool:
        """Until the program exits or floods its output; False after `timeout` seconds."""
        waiting = [asyncio.ensure_future(event.wait()) for event in (self.exited, self.flooded)]
        try:
            done, _ = await asyncio.wait(waiting, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for future in waiting:
                future.cancel()
        return bool(done)


@dataclass(frozen=True)
class _Tree:
    """A process, which leads its own session and group, and everything that came out of it."""

    leader: int
    mark: str
    uid: int | None
    contained: bool

    def signal_group(self, number: signal.Signals) -> None:
        # EPERM: macOS answers so for a group of zombies
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.leader, number)

    async def kill(self, program: _Program) -> None:
        """Return when the leader is reaped and no descendant is left that can be found."""
        if not program.exited.is_set():
            self.signal_group(signal.SIGKILL)
            await program.exited.wait()
        # A process may fork while it is being killed, so until nothing is found.
        while not self.contained and (survivors := self._survivors()):
            for pid in survivors:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.005)

    def _survivors(self) -> set[int]:
        processes = list(_processes())
        found = {process.pid for process in processes if self._owns(process)}
        while children := {p.pid for p in processes if p.parent in found} - found:
            found |= children
        return found

    def _owns(self, process: "_Process") -> bool:
        if process.session == self.leader and process.pid != self.leader:
            return True
        return process.uid == self.uid or f"{_MARK}={self.mark}".encode() in process.environment()


@dataclass(frozen=True)
class _Process:
    pid: int
    parent: int
    session: int
    uid: int

    def environment(self) -> bytes:
        try:
            return Path(f"/proc/{self.pid}/environ").read_bytes()
        except OSError:  # gone, or another user's
            return b""


def _processes() -> Iterator[_Process]:
    """All live processes; none where there is no /proc (macOS), so that the group is all that is killed there."""
    proc = Path("/proc")
    for entry in proc.iterdir() if proc.is_dir() else ():
        if not entry.name.isdigit():
            continue
        try:
            # the name in parentheses may hold anything, so count from its end (proc(5))
            state, parent, _, session = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:4]
            uid = entry.stat().st_uid
        except (OSError, ValueError):
            continue
        if state not in "ZX":
            yield _Process(int(entry.name), int(parent), int(session), uid)
