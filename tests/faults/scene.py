"""Where faults are tried: a home of its own for the command line, a Prefect server, perhaps a Daytona emulator.

Everything is a real process. Whoever opens a scene closes it, and with it all that it has started.
"""

import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Literal

import psutil

from tests.deployments.service import Server
from tests.faults.disk import SmallDisk
from tests.faults.runs import ROLLOUTS, Run, ServedRun
from tests.faults.services import Cloud, PrefectServer, is_alive

BackendName = Literal["local", "daytona"]

PARAMETERS = {
    "agent": "gold",
    "benchmark": "hello-world",
    "attempts": ROLLOUTS,
    "concurrency": 1,
    "sandboxes": 2,
}

SWEEP = "import asyncio; from flows.sweep import sweep_sandboxes; asyncio.run(sweep_sandboxes())"


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
        """On the command line."""
        options = [word for name, value in PARAMETERS.items() for word in (f"--{name}", str(value))]
        return self._command("run", "--backend", self.backend, *options)

    def serve(self) -> Run:
        """As a run of the deployment, by a worker."""
        self.server.deploy()
        return ServedRun(self.home, self.environment, Server(self.server.url), self.backend, PARAMETERS)

    def resume(self) -> Run:
        return self._command("resume", str(self._ask("SELECT name FROM runs")[0][0]))

    def _command(self, *words: str) -> Run:
        return Run((str(Path(sys.executable).with_name("engine-bench")), *words), self.home, self.environment)

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
        """End what still runs, e.g. where a trial was broken off, so that it is not counted for the next one."""
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if self.cloud:
            self.cloud.clear()
        self.disk.unmount()

    def _owns(self, line: str) -> bool:
        return f"{self.home}/" in line

    def _processes(self) -> Iterator[psutil.Process]:
        for process in psutil.process_iter():
            try:
                told = f"{process.cmdline()} {process.cwd()} {process.environ()}"
            except psutil.Error:
                continue
            if self._owns(f"{told}/") and is_alive(process):
                yield process
