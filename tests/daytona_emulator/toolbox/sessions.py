"""Sessions: one long-lived shell each, fed one command after the other; its state (cd, variables) carries over.

A command's output goes through two FIFOs into one log, each line marked with the stream it came from; that is the
format in which the real daemon keeps and streams it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import threading
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

from .errors import ToolboxError
from .process import SHELL

STDOUT, STDERR = b"\x01\x01\x01", b"\x02\x02\x02"
TERMINATION_GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL for a deleted session."""

WAKE_SECONDS = 0.02


class Log:
    """Marked output lines, appended by reader threads and followed by any number of tasks."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.closed = False
        self._loop = asyncio.get_running_loop()
        self._grown = asyncio.Event()

    def append_from_thread(self, data: bytes) -> None:
        self._loop.call_soon_threadsafe(self._append, data)

    def close(self) -> None:
        self.closed = True
        self._grown.set()

    def _append(self, data: bytes) -> None:
        self.data += data
        grown, self._grown = self._grown, asyncio.Event()
        grown.set()

    async def follow(self) -> AsyncIterator[bytes]:
        """What is there, then what comes, until the log is closed."""
        position = 0
        while True:
            chunk = bytes(self.data[position:])
            position += len(chunk)
            if chunk:
                yield chunk
            elif self.closed:
                return
            else:
                await self._grown.wait()

    def streams(self) -> dict[str, str]:
        """`output` as it is kept, and `stdout` and `stderr` on their own, without marks."""
        parts = {STDOUT: bytearray(), STDERR: bytearray()}
        for line in bytes(self.data).splitlines(keepends=True):
            parts[line[:3]] += line[3:]
        return {
            "output": self.data.decode(errors="replace"),
            "stdout": parts[STDOUT].decode(errors="replace"),
            "stderr": parts[STDERR].decode(errors="replace"),
        }


class Command:
    """One command of a session. It is done when every process that holds its output has ended."""

    def __init__(self, directory: Path, text: str, keeps_stdin_open: bool) -> None:
        self.id = str(uuid.uuid4())
        self.text = text
        self.exit_code: int | None = None
        self.log = Log()
        self.done = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._directory = directory / self.id
        self._directory.mkdir()
        (self._directory / "command.sh").write_text(text + "\n")
        for name in ("out", "err", "in", "status"):
            os.mkfifo(self._directory / name)
        # Held open for reading and writing: the shell's open never blocks, and the command sees no end of input.
        self._stdin = os.open(self._directory / "in", os.O_RDWR)
        self._input = "in" if keeps_stdin_open else "/dev/null"
        threading.Thread(target=self._collect, daemon=True).start()

    def shell_line(self) -> str:
        place = self._directory
        source = place / self._input  # an absolute name replaces the directory
        run = f"{{ . '{place}/command.sh'; }} <'{source}' >'{place}/out' 2>'{place}/err'"
        return f"{run}; echo $? >'{place}/status'\n"

    def view(self) -> dict[str, object]:
        exit_code = {} if self.exit_code is None else {"exitCode": self.exit_code}
        return {"id": self.id, "command": self.text, **exit_code}

    def write_input(self, text: str) -> None:
        os.write(self._stdin, (text.rstrip("\n") + "\n").encode())

    def end_without_status(self) -> None:
        """The shell is gone: let the readers that wait for it to open a FIFO see an end of file."""
        for name in ("out", "err", "status"):
            try:
                os.close(os.open(self._directory / name, os.O_WRONLY | os.O_NONBLOCK))
            except OSError:  # no reader: it is already done with this FIFO
                continue

    def _collect(self) -> None:
        readers = [
            threading.Thread(target=self._pump, args=each, daemon=True) for each in (("out", STDOUT), ("err", STDERR))
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        status = (self._directory / "status").read_text().strip()
        self._loop.call_soon_threadsafe(self._finish, int(status) if status else None)

    def _pump(self, name: str, mark: bytes) -> None:
        with (self._directory / name).open("rb", buffering=0) as stream:
            rest = b""
            while chunk := stream.read(65536):
                *lines, rest = (rest + chunk).split(b"\n")
                if lines:
                    self.log.append_from_thread(b"".join(mark + line + b"\n" for line in lines))
            if rest:
                self.log.append_from_thread(mark + rest + b"\n")

    def _finish(self, status: int | None) -> None:
        if status is not None:
            self.exit_code = status
        os.close(self._stdin)
        self.log.close()
        self.done.set()


class Session:
    """A shell and the commands it was given."""

    def __init__(self, name: str, shell: asyncio.subprocess.Process, directory: Path) -> None:
        self.name = name
        self.commands: dict[str, Command] = {}
        self._shell = shell
        self._directory = directory
        self._watch = asyncio.create_task(self._end_commands_with_shell())

    @classmethod
    async def start(cls, name: str) -> Session:
        shell = await asyncio.create_subprocess_exec(
            SHELL,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        return cls(name, shell, Path(tempfile.mkdtemp(prefix="session-", dir="/run")))

    async def run(self, text: str, asynchronous: bool) -> Command:
        if self._shell.returncode is not None:
            raise ToolboxError(410, "session has ended", "SESSION_ENDED")
        command = Command(self._directory, text, keeps_stdin_open=asynchronous)
        self.commands[command.id] = command
        assert self._shell.stdin
        self._shell.stdin.write(command.shell_line().encode())
        await self._shell.stdin.drain()
        return command

    async def kill(self) -> None:
        self._signal(signal.SIGTERM)
        # A shell waits for its foreground command before it obeys.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._shell.wait(), TERMINATION_GRACE)
        self._signal(signal.SIGKILL)
        await asyncio.wait({self._watch}, timeout=TERMINATION_GRACE)
        self._watch.cancel()  # a process that left the group may hold the output for as long as it likes
        shutil.rmtree(self._directory)

    def view(self) -> dict[str, object]:
        return {"sessionId": self.name, "commands": [command.view() for command in self.commands.values()]}

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # the whole group is gone, which is what was wanted
            os.killpg(self._shell.pid, number)

    async def _end_commands_with_shell(self) -> None:
        code = await self._shell.wait()
        for command in self.commands.values():
            if not command.done.is_set():
                command.exit_code = code if code >= 0 else 128 - code
            # Again until it took: a reader that has not opened its FIFO yet can't be woken.
            while not command.done.is_set():
                command.end_without_status()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(command.done.wait(), WAKE_SECONDS)
