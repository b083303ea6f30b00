"""The server on PostgreSQL and Redis, and two workers: docs/scale-out.md as a test."""

import os
import shutil
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.deployments.service import Person, Server, eventually

pytestmark = pytest.mark.scale_out

EVALS = 20

# What compose.yaml runs, too.
API = ("prefect", "server", "start", "--no-services")
BACKGROUND = ("prefect", "server", "services", "start")
WORKER = ("deployments.worker",)
REGISTER = ("deployments.register",)


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """A PostgreSQL of this folder's own. Yields its URL for a database `prefect`."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    assert binaries, "PostgreSQL is not installed: apt-get install postgresql"
    port = free_port()
    # It refuses to run as root, and its user can't look into pytest's folder.
    postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    with TemporaryDirectory(prefix="engine-bench-postgresql-") as home:
        if postgres:
            shutil.chown(home, "postgres", "postgres")
        data = Path(home) / "data"
        initdb = [binaries[-1] / "initdb", "--pgdata", data, "--auth=trust", "--username=prefect", "--encoding=UTF8"]
        subprocess.run([*postgres, *initdb, "--no-sync"], check=True, stdout=subprocess.DEVNULL, cwd="/")
        options = ["-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-k", home, "-c", "fsync=off"]
        with running([*postgres, binaries[-1] / "postgres", *options], port, folder / "postgresql.log"):
            for database in ("prefect", "rollouts"):
                psql(port, "postgres", f"create database {database}")
            yield f"postgresql+asyncpg://prefect@127.0.0.1:{port}"


def psql(port: int, database: str, query: str) -> str:
    command = ["psql", "-h", "127.0.0.1", "-p", str(port), "-U", "prefect", "-At", database, "-c", query]
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd="/").stdout.strip()


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    assert shutil.which("redis-server"), "Redis is not installed: apt-get install redis-server"
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
    with running(command, port, folder / "redis.log"):
        yield f"redis://127.0.0.1:{port}/0"


@contextmanager
def running(command: list[str | Path], port: int, log: Path) -> Iterator[None]:
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd="/")

    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        eventually(answers, f"{command[-1]} on port {port}")
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def command(person: Person, words: tuple[str, ...], log: Path, settings: dict[str, str]) -> Iterator[None]:
    with log.open("w") as output:
        process = person.start(*words, output=output, **settings)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def scaled_out(database: str, messages: str) -> dict[str, str]:
    """What compose.yaml sets, too."""
    return {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"{database}/prefect",
        "PREFECT_MESSAGING_BROKER": "prefect_redis.messaging",
        "PREFECT_MESSAGING_CACHE": "prefect_redis.messaging",
        "PREFECT_SERVER_EVENTS_CAUSAL_ORDERING": "prefect_redis.ordering",
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect_redis.lease_storage",
        "PREFECT_SERVER_DOCKET_URL": messages,
        "PREFECT_REDIS_MESSAGING_URL": messages,
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }


def test_twenty_evals_on_two_workers(tmp_path: Path):
    assert find_spec("prefect_redis"), "prefect-redis is not installed"
    with ExitStack() as stack:
        database, messages = stack.enter_context(postgresql(tmp_path)), stack.enter_context(redis(tmp_path))
        people = [Person(tmp_path / name, ENGINE_BENCH_STORE_URL=f"{database}/rollouts") for name in ("one", "two")]
        for person in people:
            person.folder.mkdir()
        settings = scaled_out(database, messages)
        port = free_port()
        api = (*API, "--host", "127.0.0.1", "--port", str(port))
        server = Server(f"http://127.0.0.1:{port}/api")
        stack.enter_context(command(people[0], api, tmp_path / "server.log", settings))
        eventually(server.answers, "the server")
        stack.enter_context(command(people[0], BACKGROUND, tmp_path / "services.log", settings))

        known = {"PREFECT_API_URL": server.api_url}
        registered = people[0](*REGISTER, **known)
        assert registered.code == 0, registered.output
        with ExitStack() as workers:
            for person in people:
                workers.enter_context(command(person, WORKER, person.folder / "worker.log", known))
            parameters = {"benchmark": "hello-world", "agent": "noop"}
            runs = [server.press_run("engine-bench/local", **parameters) for _ in range(EVALS)]
            states = [server.ended(run, patience=600) for run in runs]
        assert [state["type"] for state in states] == ["COMPLETED"] * EVALS

        # none lost, none doubled, each by one of the two, and both at work
        assert {run["id"] for run in server.runs("engine-bench/local")} == set(runs)
        documents = [path for person in people for path in person.folder.glob("results/*/result.json")]
        by = Counter(path.relative_to(tmp_path).parts[0] for path in documents)
        assert by["one"] + by["two"] == EVALS
        assert min(by["one"], by["two"]) > 0
        query = "select count(*), count(distinct run_id), count(distinct correlation_id) from rollouts"
        assert psql(int(database.rpartition(":")[2]), "rollouts", query) == f"{EVALS}|{EVALS}|{EVALS}"
        assert [person.sandboxes() for person in people] == [[], []]
