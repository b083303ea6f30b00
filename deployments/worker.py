"""A Prefect worker as a child process, and how it is stopped without losing what its runs would clean up.

`python -m deployments.worker` runs one for the server that PREFECT_API_URL names, until Ctrl-C or SIGTERM.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn
from uuid import uuid4

import psutil

from core.errors import EngineBenchError, InfrastructureError
from deployments.api import required_api
from deployments.stopping import say, until_stopped
from deployments.work_pool import WORK_POOL, WORK_POOL_TYPE
from flows.api import Api

CLEANUP_PATIENCE = 90.0
"""Seconds that runs get to remove their sandboxes before they are killed; the sweep removes what is left then."""

WORKER_PATIENCE = 20.0

MARK = "ENGINE_BENCH_WORKER"
"""Environment variable that names the worker in its runs' processes. Those outlive it, in sessions of their own."""

IMPATIENT = {"PREFECT_WORKER_QUERY_SECONDS": "2"}
"""Prefect's own 10 would be most of what a person waits for a run to begin. The environment may say otherwise."""

_ENGINES = ("prefect.engine", "prefect.flow_engine")
"""Modules that Prefect's worker runs a flow run's process with."""


class Worker:
    """One worker of the work pool, in a session of its own, so that Ctrl-C does not reach it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        pool = ["--pool", WORK_POOL, "--type", WORK_POOL_TYPE, "--install-policy", "never"]
        self._mark = uuid4().hex
        self._child = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", *pool],
            env={**IMPATIENT, **os.environ, **environment, MARK: self._mark},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait(self) -> NoReturn:
        """Wait until the worker ends by itself, which it should not.

        Raises:
            InfrastructureError: it has.
        """
        code = self._child.wait()
        raise InfrastructureError(f"The worker has ended with exit code {code}; what it said is above.")

    def runs(self) -> list[psutil.Process]:
        """The processes of the flow runs that it executes now, also if it has died itself."""
        return [process for process in self._family() if _is_engine(process)]

    def stop(self) -> None:
        """End its runs, each with its cleanup, and then the worker.

        In this order: a worker that is told to stop kills its runs within a quarter of a second, leaves them Running,
        and their sandboxes behind.
        """
        asked: set[psutil.Process] = set()
        deadline = time.monotonic() + CLEANUP_PATIENCE
        # Again and again, as the worker may pick up another run meanwhile.
        while (running := self.runs()) and time.monotonic() < deadline:
            for process in set(running) - asked:
                _send(process.terminate)
            asked |= set(running)
            psutil.wait_procs(running, timeout=1)
        self._child.terminate()
        _, survivors = psutil.wait_procs(self._family(), timeout=WORKER_PATIENCE)
        for survivor in survivors:
            _send(survivor.kill)
        self._child.wait()

    def _family(self) -> list[psutil.Process]:
        """The worker and all that it has started, but for local sandboxes: what is in those has another environment."""
        return [process for process in psutil.process_iter() if _mark_of(process) == self._mark]


@contextmanager
def working(api: Api) -> Iterator[Worker]:
    """A worker that is stopped, after its runs, at the end of the block."""
    # of its own, since a worker that is killed removes nothing of what it and its runs keep there
    with TemporaryDirectory(prefix="engine-bench-worker-", ignore_cleanup_errors=True) as temporary:
        Path(temporary).chmod(0o711)  # agents may be other users
        worker = Worker({**api.environment(), "TMPDIR": temporary})
        try:
            yield worker
        finally:
            if running := worker.runs():
                say(f"Stopping {len(running)} flow run(s); their sandboxes are cleaned up first")
            worker.stop()


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except psutil.Error:
        return None  # it has just ended, or belongs to somebody else


def _is_engine(process: psutil.Process) -> bool:
    try:
        return any(engine in process.cmdline() for engine in _ENGINES)
    except psutil.Error:
        return False  # it has just ended


def _send(signal: Callable[[], None]) -> None:
    with suppress(psutil.NoSuchProcess):
        signal()


def main() -> None:
    try:
        with until_stopped(), working(required_api()) as worker:
            worker.wait()
    except EngineBenchError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
