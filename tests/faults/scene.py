"""Where faults are tried: a home of its own for the command line, a Prefect server, perhaps a Daytona emulator.

Everything is a real process. Whoever opens a scene closes it, and with it all that it has started.
"""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

import httpx
import psutil

BackendName = Literal["local", "daytona"]

STEPS = ("provision", "upload", "install", "start", "health", "eval", "cleanup")
MID_EVAL = "mid-eval"
MOMENTS = (*STEPS[:-1], MID_EVAL, STEPS[-1])
"""When a run is struck: as its first lane begins a step, or once some rollouts are finished."""
LANES = 2
ROLLOUTS = 40
"""Attempts at hello-world, one at a time: an eval that takes a second or two, so that it can be caught at it."""

PATIENCE = 180.0
"""Seconds that anything may take on a busy machine; nothing that works comes near."""

SWEEP = "import asyncio; from flows.sweep import sweep_sandboxes; asyncio.run(sweep_sandboxes())"
PROGRESS = re.compile(rf"(\d+) of {ROLLOUTS} rollouts, mean")
UNSCORED = re.compile(r"(\d+) of \d+ rollouts have no score")
FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}

Seen = TypeVar("Seen")


def eventually(look: Callable[[], Seen | None], what: str) -> Seen:
    """What `look` returns once that is something."""
    deadline = time.monotonic() + PATIENCE
    while not (seen := look()):
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE:g} s"
        time.sleep(0.02)
    return seen


class NotStruck(Exception):
    """The fault came too late, or found nothing to strike: this was no trial."""


class PrefectServer:
    """A server of the tests' own, at one port however often it goes away."""

    def __init__(self, home: Path, database: str = "") -> None:
        """`database` is a SQLAlchemy URL; without one it is SQLite in `home`."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = probe.getsockname()[1]
        self._environment = os.environ | {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
        if database:
            self._environment["PREFECT_SERVER_DATABASE_CONNECTION_URL"] = database
        self.url = f"http://127.0.0.1:{self._port}/api"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = ["prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self._port)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", *command],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(self._answers, "the Prefect server")

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(PATIENCE)

    def _answers(self) -> bool:
        assert self._process
        assert self._process.poll() is None, "the Prefect server has ended"
        try:
            return httpx.get(f"{self.url}/health", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    def bury(self, flow_run_ids: list[str]) -> None:
        """Mark runs whose process is gone as crashed: in service, the worker or the heartbeat automation does it."""
        for each in flow_run_ids:
            if httpx.get(f"{self.url}/flow_runs/{each}", trust_env=False).json()["state"]["type"] not in FINAL:
                state = {"type": "CRASHED", "name": "Crashed", "message": "Its process is gone."}
                answer = httpx.post(
                    f"{self.url}/flow_runs/{each}/set_state", json={"state": state, "force": True}, trust_env=False
                )
                answer.raise_for_status()


class Cloud:
    """A Daytona emulator, asked from threads and processes alike."""

    def __init__(self, *options: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.daytona_emulator", "--until-stdin-closes", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout
        told = json.loads(self._process.stdout.readline())
        self.isolation: str = told.get("isolation", "none")
        self.limits: list[str] = told.get("limits", [told.get("isolation_refused", "")])
        self.api_key, self.api_url = "emulator-key", told.get("api_url", "")
        self._operator = httpx.Client(
            base_url=self.api_url.removesuffix("api") + "emulator/",
            headers={"Authorization": f"Bearer {self.api_key}"},
            trust_env=False,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def fault(self, kind: str, **options: Any) -> None:
        """See the emulator's README."""
        self._operator.post("faults", json={"kind": kind, **options}).raise_for_status()

    def clear_faults(self) -> None:
        self._operator.delete("faults").raise_for_status()

    def sandboxes(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._operator.get("sandboxes").raise_for_status().json()
        return found

    def refused(self) -> int:
        """How many requests a fault has struck so far."""
        journal = self._operator.get("journal").raise_for_status().json()
        return sum(entry["status"] in (429, 500, 502) for entry in journal)

    def task_apps(self) -> list[psutil.Process]:
        return self._processes("task_app")

    def toolboxes(self) -> list[psutil.Process]:
        """The daemons that Daytona's toolbox API is served by, one inside of each sandbox."""
        return self._processes("--workdir")

    def _processes(self, word: str) -> list[psutil.Process]:
        return [child for child in psutil.Process(self._process.pid).children(recursive=True) if has_word(child, word)]

    def close(self) -> None:
        self._operator.close()
        self._process.communicate(timeout=PATIENCE)  # closes its standard input


class Run:
    """`engine-bench run` or `resume`, in a process group of its own as a shell gives it."""

    def __init__(self, scene: "Scene", *words: str) -> None:
        self._lines: list[str] = []
        self.process = subprocess.Popen(
            [str(Path(sys.executable).with_name("engine-bench")), *words],
            cwd=scene.home,
            env=scene.environment,
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
            done = re.compile(rf"{STEPS[STEPS.index(moment) - 1]} · lane 1 +Completed")
            reached = lambda: done.search(self.said) is not None  # noqa: E731
        eventually(lambda: reached() or self._ended_early(moment), moment)

    def _ended_early(self, moment: str) -> bool:
        if self.process.poll() is not None:
            raise NotStruck(f"The run ended before {moment}:\n{self.said}")
        return False

    def wait(self) -> int:
        code = self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return code

    def press_ctrl_c(self) -> None:
        """The terminal sends SIGINT to the whole foreground group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def task_apps(self) -> list[psutil.Process]:
        try:
            children = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return [child for child in children if has_word(child, "task_app")]


class SmallDisk:
    """A folder that can be made a file system of its own, and filled."""

    SIZE = "64m"

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self._filler = path / "filler"
        self._mounted = False
        self._filling: threading.Thread | None = None
        self._emptied = threading.Event()

    def mount(self) -> None:
        """Needs root. Must come before anything is written."""
        command = ["mount", "-t", "tmpfs", "-o", f"size={self.SIZE}", "tmpfs", str(self.path)]
        subprocess.run(command, check=True, capture_output=True)
        self._mounted = True

    def fill(self) -> None:
        """To the last byte, and keep it so: what is removed meanwhile makes room."""
        self._fill_once()
        self._filling = threading.Thread(target=self._keep_full, daemon=True)
        self._filling.start()

    def empty(self) -> None:
        self._emptied.set()
        if self._filling:
            self._filling.join()
        self._filler.unlink(missing_ok=True)

    def _keep_full(self) -> None:
        while not self._emptied.wait(0.005):
            self._fill_once()

    def _fill_once(self) -> None:
        with self._filler.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                with suppress(OSError):
                    while file.write(b"x" * size):
                        pass

    def unmount(self) -> None:
        if self._mounted:
            self.empty()
            subprocess.run(["umount", "--lazy", str(self.path)], check=True)


class Scene:
    """One home, in which one eval is run, disturbed and resumed."""

    def __init__(self, home: Path, server: PrefectServer, cloud: Cloud | None) -> None:
        self.home = home
        self.server = server
        self.cloud = cloud
        self.backend: BackendName = "daytona" if cloud else "local"
        self.temporary = home / "tmp"
        self.temporary.mkdir(parents=True)
        self.disk = SmallDisk(home / "disk")
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.environment = kept | {
            "ENGINE_BENCH_DATA_DIR": str(home / "data"),
            "ENGINE_BENCH_CACHE_DIR": str(self.disk.path / "cache"),
            "ENGINE_BENCH_RESULTS_DIR": str(self.disk.path / "results"),
            "PREFECT_API_URL": server.url,
            "TMPDIR": str(self.temporary),
            "COLUMNS": "200",
        }
        if cloud:
            self.environment |= {
                "DAYTONA_API_KEY": cloud.api_key,
                "DAYTONA_API_URL": cloud.api_url,
                "DAYTONA_TARGET": "us",
            }

    def run(self) -> Run:
        what = ("--agent", "gold", "--benchmark", "hello-world", "--attempts", str(ROLLOUTS), "--concurrency", "1")
        return Run(self, "run", "--backend", self.backend, "--sandboxes", str(LANES), *what)

    def resume(self) -> Run:
        return Run(self, "resume", str(self._ask("SELECT name FROM runs")[0][0]))

    def finished(self) -> dict[str, tuple[str, float]]:
        """Time and reward of each scored rollout in the store."""
        asked = "SELECT correlation_id, finished_at, json_extract(row, '$.reward') FROM rollouts WHERE scored"
        return {correlation_id: (at, reward) for correlation_id, at, reward in self._ask(asked)}

    def _ask(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.disk.path / "results" / "rollouts.db")) as store:
            return store.execute(query).fetchall()

    def sweep(self) -> None:
        """What runs each hour in service. Runs that died without a word have been marked by then."""
        self.server.bury(self._flow_runs())
        done = subprocess.run(
            [sys.executable, "-c", SWEEP],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def _flow_runs(self) -> list[str]:
        owners = [path.read_text() for path in (self.disk.path / "cache").glob("sandboxes/*/owner.json")]
        labels = [json.dumps(sandbox["labels"]) for sandbox in self.cloud.sandboxes()] if self.cloud else []
        uuid = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
        return sorted({found for text in (*owners, *labels) for found in re.findall(uuid, text)})

    def leftovers(self) -> list[str]:
        """What should be gone: sandboxes, processes, mounts, files for a while."""
        sandboxes = [path.name for path in (self.disk.path / "cache" / "sandboxes").glob("*/")]
        if self.cloud:
            sandboxes += [sandbox["name"] for sandbox in self.cloud.sandboxes()]
        mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines() if self._owns(line)]
        mounts = [path for path in mounted if path != str(self.disk.path)]
        processes = [f"process {process.pid}: {process.cmdline()[:4]}" for process in self._processes()]
        return [*sandboxes, *mounts, *processes, *(path.name for path in self.temporary.iterdir())]

    def close(self) -> None:
        """End what still runs, e.g. where a trial was broken off."""
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.disk.unmount()

    def _owns(self, line: str) -> bool:
        return f"{self.home}/" in line

    def _processes(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            try:
                told = f"{process.cmdline()} {process.cwd()} {process.environ()}"
                alive = process.status() != psutil.STATUS_ZOMBIE
            except psutil.Error:
                continue
            if alive and self._owns(f"{told}/"):
                yield process


def has_word(process: psutil.Process, word: str) -> bool:
    """Whether a process was started with this argument."""
    try:
        return word in process.cmdline()
    except psutil.Error:
        return False


@contextmanager
def prefect_server(home: Path, database: str = "") -> Iterator[PrefectServer]:
    server = PrefectServer(home, database)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def cloud(*options: str) -> Iterator[Cloud]:
    """An emulator, with the options of its command line."""
    emulator = Cloud(*options)
    try:
        yield emulator
    finally:
        emulator.close()
