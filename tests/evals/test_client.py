"""The client with the real EvalJob, against the embedded eval service and a scripted task app."""

from collections.abc import Callable

from evals.models import EvalRequest, Progress
from evals.service import EvalService
from tests.evals.conftest import ScriptedTaskApp

Make = Callable[..., EvalRequest]


async def test_a_job_gives_one_row_per_seed(
    service: EvalService, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    task_app.rewards = {0: 1.0, 1: 0.0, 5: 0.5}
    submitted, told = [], []

    async def on_submitted(job_id: str) -> None:
        submitted.append(job_id)

    async def on_progress(progress: Progress) -> None:
        told.append(progress)

    request = make_request(seeds=[0, 1, 5])
    outcome = await service.client().run(request, on_submitted=on_submitted, on_progress=on_progress)

    assert (outcome.status, outcome.error, [outcome.job_id]) == ("completed", None, submitted)
    assert [(row.seed, row.reward) for row in outcome.rows] == [(0, 1.0), (1, 0.0), (5, 0.5)]
    last = outcome.rows[2]
    assert (last.correlation_id, last.instance, last.instance_seed, last.attempt) == ("run-1-5", "instance-1", 1, 1)
    assert (last.tests_passed, last.tests_total, last.tokens, last.cost_usd) == (3, 3, 10, 0.25)
    assert told[-1] == Progress(completed=3, total=3, mean_reward=0.5)
