"""One eval as whoever started it has it: what it says, how far it is, how it ends."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.deployments.service import Server
from tests.faults.services import PATIENCE, eventually, has_word

STEPS = ("provision", "upload", "install", "start", "health", "eval", "cleanup")
MID_EVAL = "mid-eval"
MOMENTS = (*STEPS[:-1], MID_EVAL, STEPS[-1])
"""When a run is struck: as its first lane begins a step, or once some rollouts are finished."""
ROLLOUTS = 40
"""Attempts at hello-world, one at a time: an eval that takes a second or two, so that it can be caught at it."""

PROGRESS = re.compile(rf"(\d+) of {ROLLOUTS} rollouts, mean")
UNSCORED = re.compile(r"(\d+) of \d+ rollouts have no score")

ENDED = {0: "completed", 1: "failed", 130: "interrupted", 143: "terminated", -9: "killed", -2: "interrupted"}
"""By exit code of the command line."""


class NotStruck(Exception):
    """The fault came too late, or found nothing to strike: this was no trial."""


class Run:
    """`engine-bench run` or `resume`, in a process group of its own as a shell gives it."""

    def __init__(self, command: Sequence[str], home: Path, environment: dict[str, str]) -> None:
        self._lines: list[str] = []
        self.process = subprocess.Popen(
            command,
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._readers = [
            threading.Thread(target=self._read, args=(stream,), daemon=True)
            for stream in (self.process.stdout, self.process.stderr)
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any) -> None:
        for line in stream:
            self._lines.append(line)

    @property
    def said(self) -> str:
        return "".join(self._lines)

    @property
    def announced(self) -> int:
        """Rollouts that it has said to be finished, less those that it said to have no score."""
        done = max((int(count) for count in PROGRESS.findall(self.said)), default=0)
        return done - max((int(count) for count in UNSCORED.findall(self.said)), default=0)

    def reach(self, moment: str) -> None:
        """Wait for one of `MOMENTS`.

        Raises:
            NotStruck: the run ended before.
        """
        if moment == MID_EVAL:
            reached: Callable[[], bool] = lambda: self.announced >= 3  # noqa: E731
        elif moment == STEPS[0]:
            reached = lambda: f"{ROLLOUTS} rollouts of" in self.said  # noqa: E731
        else:
            done = re.compile(rf"{STEPS[STEPS.index(moment) - 1]} · lane 1\b.* Completed")
            reached = lambda: done.search(self.said) is not None  # noqa: E731
        eventually(lambda: reached() or self._ended_early(moment), moment)

    def _ended_early(self, moment: str) -> bool:
        if self.process.poll() is not None:
            raise NotStruck(f"The run ended before {moment}:\n{self.said}")
        return False

    def wait(self) -> str:
        """How it has ended, in a word."""
        code = self._wait()
        return ENDED.get(code, f"exit code {code}")

    def _wait(self) -> int:
        eventually(lambda: self.process.poll() is not None, "the end")
        for reader in self._readers:
            reader.join(PATIENCE)
        assert self.process.returncode is not None
        return self.process.returncode

    def press_ctrl_c(self) -> None:
        """The terminal sends SIGINT to the whole foreground group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def task_apps(self) -> list[psutil.Process]:
        try:
            children = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return [child for child in children if has_word(child, "task_app")]


class ServedRun(Run):
    """A run of a deployment. `process` is what keeps the worker that begins it."""

    def __init__(
        self, home: Path, environment: dict[str, str], server: Server, backend: str, parameters: dict[str, Any]
    ) -> None:
        super().__init__((sys.executable, "-m", "deployments.worker"), home, environment)
        self._server = server
        self._id = server.press_run(f"engine-bench/{backend}", **parameters)

    def wait(self) -> str:
        """How it has ended. Its worker has as well: whatever keeps that sees to it that the run does."""
        self._wait()
        # what it has said since its worker, which passed that on, was gone
        self._lines += [f"{line}\n" for line in self._server.log(self._id)]
        return str(self._server.state(self._id)["name"]).lower()

    def workers(self) -> list[psutil.Process]:
        return [child for child in psutil.Process(self.process.pid).children() if has_word(child, "worker")]
