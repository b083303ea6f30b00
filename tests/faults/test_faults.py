"""The most telling faults: nothing is lost, done twice, or left behind. All of them: `make test-faults`."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults.faults import (
    Fault,
    ctrl_c_twice,
    disturb,
    kill_flow,
    kill_task_app,
    let_api_fail,
    mend_cloud,
    take_server_away,
)
from tests.faults.runs import MID_EVAL, ROLLOUTS
from tests.faults.scene import Scene
from tests.faults.services import Cloud, PrefectServer, cloud, prefect_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with prefect_server(tmp_path_factory.mktemp("prefect")) as server:
        yield server


@pytest.fixture(scope="module")
def emulator() -> Iterator[Cloud]:
    with cloud() as emulator:
        if emulator.isolation == "none":
            pytest.skip(f"sandboxes can't run commands on this machine: {'; '.join(emulator.limits)}")
        yield emulator


@pytest.fixture
def local(tmp_path: Path, server: PrefectServer) -> Iterator[Scene]:
    with closing(Scene(tmp_path / "home", server, None)) as scene:
        yield scene


@pytest.fixture
def daytona(tmp_path: Path, server: PrefectServer, emulator: Cloud) -> Iterator[Scene]:
    with closing(Scene(tmp_path / "home", server, emulator)) as scene:
        yield scene


@pytest.mark.parametrize(
    "fault",
    [Fault("Ctrl-C twice", ctrl_c_twice), Fault("Prefect server away", take_server_away)],
    ids=lambda fault: fault.name,
)
def test_on_this_machine(local: Scene, fault: Fault) -> None:
    outcome = disturb(local, fault, MID_EVAL)
    assert outcome.is_clean, (outcome.leaked, outcome.said)


@pytest.mark.parametrize(
    "fault",
    [Fault("kill -9 of the flow", kill_flow), Fault("kill -9 of the task app", kill_task_app)],
    ids=lambda fault: fault.name,
)
def test_in_daytona(daytona: Scene, fault: Fault) -> None:
    outcome = disturb(daytona, fault, MID_EVAL)
    assert outcome.is_clean, (outcome.leaked, outcome.said)


def test_an_api_that_fails_one_time_in_five_costs_nothing(daytona: Scene) -> None:
    outcome = disturb(daytona, Fault("20%", let_api_fail, mend=mend_cloud), "provision")
    assert outcome.ended == "completed", outcome.said
    assert outcome.is_clean, (outcome.leaked, outcome.said)
    assert daytona.cloud
    assert daytona.cloud.refused() > 3


def test_a_run_whose_prefect_server_is_gone_for_good_ends_when_it_is_told_to(tmp_path: Path) -> None:
    with prefect_server(tmp_path / "prefect") as server, closing(Scene(tmp_path / "home", server, None)) as scene:
        run = scene.run()
        run.reach(MID_EVAL)
        server.stop()
        run.process.terminate()
        assert run.wait() == "terminated", run.said
        assert "The Prefect server does not answer" in run.said
        assert "Traceback" not in run.said
        assert scene.leftovers() == []


def test_a_run_whose_prefect_server_is_gone_for_good_scores_what_it_can(tmp_path: Path) -> None:
    with prefect_server(tmp_path / "prefect") as server, closing(Scene(tmp_path / "home", server, None)) as scene:
        scene.environment["PREFECT_CLIENT_MAX_RETRIES"] = "1"  # its five take a minute, for each request
        run = scene.run()
        run.reach(MID_EVAL)
        server.stop()
        assert run.wait() == "failed", run.said
        assert "The Prefect server does not answer any more" in run.said
        assert "Traceback" not in run.said
        assert len(scene.finished()) == ROLLOUTS
        assert scene.leftovers() == []
