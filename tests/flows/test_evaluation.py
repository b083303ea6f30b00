"""The eval step of a lane on a hosted eval service: what is kept of its jobs, and when one is submitted anew."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect.logging import disable_run_logger

from core.settings import Settings
from evals import client as client_module
from evals.client import EvalClient
from evals.store import Store, StoredRun, open_store
from evals.synth import EvalServiceUnavailable
from flows import evaluation as evaluation_module
from flows.evaluation import Evaluation, RolloutsUnscored, SandboxLost
from flows.parameters import Parameters
from flows.plan import Plan, make_plan
from flows.report import Report
from flows.run_folder import RunFolder
from sandboxes.base import Endpoint
from tests.evals.conftest import served
from tests.evals.scripted import ScriptedEvalService, ScriptedTaskApp

ALL_SCORED = [{"seed": seed, "reward": 1.0} for seed in range(3)]


@pytest.fixture
def hosted() -> Iterator[ScriptedEvalService]:
    script = ScriptedEvalService()
    script.results = ALL_SCORED
    with served(script), disable_run_logger():
        yield script


@pytest.fixture
def task_app() -> Iterator[ScriptedTaskApp]:
    script = ScriptedTaskApp()
    script.info_answer = (200, {"benchmark": {"name": "sample"}, "versions": {}})
    with served(script):
        yield script


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store(f"sqlite+aiosqlite:///{tmp_path / 'rollouts.db'}") as store:
        yield store


class Lane:
    """The eval step of a run's only lane, to be tried again and again."""

    def __init__(self, plan: Plan, evaluation: Evaluation, task_app: ScriptedTaskApp, note: Path) -> None:
        self._plan, self._evaluation, self._task_app = plan, evaluation, task_app
        self.note = note

    async def evaluate(self) -> None:
        await self._evaluation.run(self._plan.lanes[0], Endpoint(url=self._task_app.url), self._task_app.api_key)


@pytest.fixture
def lane(store: Store, hosted: ScriptedEvalService, task_app: ScriptedTaskApp, tmp_path: Path) -> Lane:
    plan = make_plan(Parameters(seeds=3, agent="gold"), "run", Settings())
    run = StoredRun("run", "a-run", "series", "hash", {}, None, datetime.now(UTC))
    report = Report(plan, store, RunFolder(tmp_path, run.name), run)
    client = EvalClient(hosted.url, hosted.api_key)
    note = report.folder.job_note(plan.lanes[0].number)
    return Lane(plan, Evaluation(plan, client, store, report, shares_work=False), task_app, note)


async def test_a_later_job_adds_the_scores_that_an_earlier_one_has_not_got(
    lane: Lane, hosted: ScriptedEvalService, store: Store
) -> None:
    hosted.results = [
        {"seed": 0, "reward": 0.5, "correlation_id": "theirs-1"},
        {"seed": 1, "error": "provider overloaded"},
    ]
    with pytest.raises(RolloutsUnscored, match="2 of 3"):
        await lane.evaluate()
    assert [(row.seed, row.reward) for row in await store.rows("run")] == [(0, 0.5), (1, None)]

    hosted.results = [{"seed": 2, "reward": 1.0, "correlation_id": "theirs-1"}]
    with pytest.raises(RolloutsUnscored, match="1 of 3"):
        await lane.evaluate()
    rows = await store.rows("run")
    assert [(row.correlation_id, row.reward) for row in rows] == [("run-0", 0.5), ("run-1", None), ("run-2", 1.0)]
    assert rows[1].error is not None
    assert "provider overloaded" in rows[1].error.message, "a reason is worth more than that there is none now"

    hosted.results = ALL_SCORED
    hosted.status_answers = [(200, {"status": "failed", "error": "too late to matter"})]
    await lane.evaluate()
    assert [row.reward for row in await store.rows("run")] == [0.5, 1.0, 1.0]


async def test_a_job_that_is_out_of_sight_for_long_is_not_paid_for_twice(
    lane: Lane, hosted: ScriptedEvalService, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "POLL_TRIES", 1)
    hosted.status_answers = [(503, {}), (503, {}), (200, {"status": "completed"})]
    for _ in range(2):
        with pytest.raises(EvalServiceUnavailable):
            await lane.evaluate()
    await lane.evaluate()
    assert len(hosted.submitted) == 1
    assert [row.reward for row in await store.rows("run")] == [1.0, 1.0, 1.0]
    assert not lane.note.exists()


async def test_a_job_that_is_unknown_to_its_service_by_now_is_submitted_anew(
    lane: Lane, hosted: ScriptedEvalService
) -> None:
    lane.note.parent.mkdir(parents=True)
    lane.note.write_text("eval-hosted")
    hosted.status_answers = [(404, {}), (200, {"status": "completed"})]
    await lane.evaluate()
    assert len(hosted.submitted) == 1


async def test_what_an_ended_job_has_scored_is_kept_before_another_one_is_submitted(
    lane: Lane, hosted: ScriptedEvalService, store: Store
) -> None:
    lane.note.parent.mkdir(parents=True)
    lane.note.write_text("eval-hosted")
    hosted.results = [{"seed": 0, "reward": 1.0}]
    with pytest.raises(RolloutsUnscored):
        await lane.evaluate()
    assert [row.seed for row in await store.rows("run")] == [0]
    assert [job["seeds"] for job in hosted.submitted] == [[1, 2]], "what is scored is not paid for again"


async def test_a_sandbox_in_which_no_task_app_answers_is_lost_and_not_tried_again(
    lane: Lane, task_app: ScriptedTaskApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation_module, "UNREACHABLE", 0.1)
    task_app.info_answer = (404, {"detail": "Not Found"})
    with pytest.raises(SandboxLost, match="something else answers there"):
        await lane.evaluate()


async def test_a_task_app_that_does_not_know_our_key_is_another_in_its_place(
    lane: Lane, task_app: ScriptedTaskApp, hosted: ScriptedEvalService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a machine where many of them come and go, the port of one that died is taken again."""
    monkeypatch.setattr(evaluation_module, "UNREACHABLE", 0.1)
    task_app.info_answer = (401, {"detail": "wrong key"})
    with pytest.raises(SandboxLost, match="has taken the address"):
        await lane.evaluate()
    assert hosted.submitted == []
