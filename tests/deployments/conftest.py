"""One `make serve` for the tests of this room, in directories of its own."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployments.service import Person, Server, Service


def slow_benchmark(folder: Path) -> Path:
    """hello-world in a workspace of so many files that a rollout takes a while and an eval can be caught at it."""
    workspace = folder / "workspace"
    workspace.mkdir(parents=True)
    (workspace / "README.md").write_text("Write hello.txt.")
    for number in range(600):
        (workspace / f"{number}.txt").write_text(str(number))
    (folder / "benchmark.json").write_text(json.dumps({"kind": "hello-world", "description": "slow"}))
    return folder


@pytest.fixture(scope="session")
def person(tmp_path_factory: pytest.TempPathFactory) -> Person:
    folder = tmp_path_factory.mktemp("person")
    return Person(folder, ENGINE_BENCH_DIR=str(slow_benchmark(folder / "slow")))


@pytest.fixture(scope="session")
def service(person: Person) -> Iterator[Service]:
    service = Service(person)
    yield service
    stopped = service.stop()
    assert stopped.code == 0, stopped.output
    assert list(person.processes()) == []


@pytest.fixture
def server(service: Service) -> Server:
    return service.server
