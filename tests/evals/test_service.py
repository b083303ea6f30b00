"""Eval jobs on the embedded eval service, through the client with the real EvalJob, on a task app that misbehaves."""

import asyncio
import json
import math
import sys
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi.responses import JSONResponse
from pydantic import SecretStr

from core.errors import ConfigurationError, InfrastructureError
from evals.client import EvalClient
from evals.models import Policy, Progress, Row
from evals.protocol import JobRequest
from evals.service import EvalService, serve
from evals.store import Store
from evals.synth import SynthJob
from tests.evals.conftest import IMPATIENT
from tests.evals.scripted import Fault, Make, ScriptedTaskApp, changed, reset, status


async def test_a_job_gives_one_row_per_seed(
    service: EvalService, store: Store, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    task_app.rewards = {0: 1.0, 1: 0.0, 5: 0.5}
    submitted: list[str] = []
    told: list[Progress] = []

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
    assert last.phases == {"agent": 0.5}
    assert told[-1] == Progress(completed=3, total=3, mean_reward=0.5)
    assert await store.rows("run-1") == outcome.rows
    assert [artifact.name for artifact in await store.artifacts("run-1-5")] == ["final.rs"]


async def test_the_task_app_is_told_who_and_what(
    service: EvalService, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    policy = Policy(agent="codex", model="some-model", timeout=7)
    await service.client().run(make_request(seeds=[3], split="hard", policy=policy))

    (body,) = task_app.bodies
    assert body["env"] == {
        "env_name": "scripted",
        "config": {"benchmark": "scripted", "split": "hard", "run_id": "run-1"},
        "seed": 3,
    }
    assert body["policy"]["config"] == {"agent": "codex", "model": "some-model", "timeout": 7}


async def test_a_mean_reward_of_zero_stays_zero(
    service: EvalService, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    task_app.rewards = {0: 0.0, 1: 0}
    told: list[Progress] = []

    async def on_progress(progress: Progress) -> None:
        told.append(progress)

    outcome = await service.client().run(make_request(seeds=[0, 1]), on_progress=on_progress)

    assert [row.reward for row in outcome.rows] == [0.0, 0.0]
    assert told[-1].mean_reward == 0.0


async def test_a_task_app_may_answer_directly(
    service: EvalService, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    task_app.asynchronous = False
    outcome = await service.client().run(make_request())
    assert [row.reward for row in outcome.rows] == [1.0, 1.0, 1.0]


async def test_a_task_app_may_leave_out_what_is_ours(
    service: EvalService, store: Store, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    def strip(reply: dict[str, Any]) -> None:
        reply["reward_info"] = {"outcome_reward": 1, "details": None}
        reply.update(success_status=None, artifact=None, trace={"steps": [1]})

    task_app.faults[0] = changed(strip)
    (row,) = (await service.client().run(make_request(seeds=[0]))).rows
    assert (row.reward, row.instance, row.error) == (1.0, None, None)
    (trace,) = await store.artifacts("run-1-0")
    assert (trace.name, json.loads(trace.content)) == ("trace.json", {"steps": [1]})


@pytest.mark.parametrize("location", ["", "rollouts/1", "//elsewhere.invalid", "/a b", "/\u00e4"])
async def test_a_location_that_leads_nowhere_is_no_score(
    service: EvalService, task_app: ScriptedTaskApp, make_request: Make, location: str
) -> None:
    headers = {"Location": location}
    task_app.faults[0] = lambda _n, _reply: JSONResponse({}, 202, headers)
    (row,) = (await service.client().run(make_request(seeds=[0]))).rows
    assert row.error is not None
    assert "Location" in row.error.message


@pytest.mark.parametrize(
    "fault",
    [
        status(503, times=2),
        status(500, times=2),
        status(429, times=2),
        reset(times=2),
        changed(lambda reply: reply.update(success_status="infrastructure_failure"), times=2),
    ],
    ids=["503", "500", "429", "reset", "infrastructure failure"],
)
async def test_what_passes_is_asked_for_again(
    service: EvalService, task_app: ScriptedTaskApp, make_request: Make, fault: Fault
) -> None:
    task_app.faults[1] = fault
    outcome = await service.client().run(make_request())

    assert [row.reward for row in outcome.rows] == [1.0, 1.0, 1.0]
    assert task_app.asked == {0: 1, 1: 3, 2: 1}
    assert {body["trace_correlation_id"] for body in task_app.bodies} == {"run-1-0", "run-1-1", "run-1-2"}


def _reward(value: Any) -> Fault:
    return changed(lambda reply: reply["reward_info"].update(outcome_reward=value))


FAILURE = {"kind": "AgentMissing", "message": "No agent binary `codex`."}


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (status(503), "http_503"),
        (reset(), "connection"),
        (changed(lambda reply: reply.update(trace_correlation_id="run-1-2")), "protocol"),
        (_reward(math.nan), "protocol"),
        (_reward(True), "protocol"),
        (_reward("1.0"), "protocol"),
        (_reward(1.01), "protocol"),
        (_reward(-0.1), "protocol"),
        (_reward(None), "protocol"),
        (changed(lambda reply: reply.clear()), "protocol"),
        (changed(lambda reply: reply.update(success_status="cancelled")), "cancelled"),
        (changed(lambda reply: reply.update(success_status="surprising")), "protocol"),
    ],
    ids=[
        "503",
        "reset",
        "other rollout",
        "nan",
        "bool",
        "string",
        "above",
        "below",
        "none",
        "empty",
        "cancelled",
        "odd",
    ],
)
async def test_what_does_not_pass_is_no_score(
    service: EvalService, store: Store, task_app: ScriptedTaskApp, make_request: Make, fault: Fault, kind: str
) -> None:
    task_app.faults[1] = fault
    outcome = await service.client().run(make_request())

    assert outcome.status == "completed"
    assert [row.reward for row in outcome.rows] == [1.0, None, 1.0]
    failed = outcome.rows[1]
    assert failed.infrastructure_failure
    assert failed.error is not None
    assert failed.error.kind == kind
    assert task_app.asked[1] == 3
    assert await store.row("run-1-1") == failed


async def test_the_task_apps_reason_and_files_are_kept(
    service: EvalService, store: Store, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    def fail(reply: dict[str, Any]) -> None:
        reply["success_status"] = "infrastructure_failure"
        reply["reward_info"]["outcome_reward"] = None
        reply["reward_info"]["details"]["failure"] = FAILURE

    task_app.faults[0] = changed(fail)
    (row,) = (await service.client().run(make_request(seeds=[0]))).rows

    assert row.error is not None
    assert row.error.model_dump() == FAILURE
    assert (row.reward, row.instance, row.infrastructure_failure) == (None, "instance-0", True)
    assert [artifact.name for artifact in await store.artifacts("run-1-0")] == ["final.rs"]


async def test_a_rollout_without_end_is_given_up(
    service: EvalService, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    task_app.held = {1}
    outcome = await service.client().run(make_request(policy=Policy(agent="gold", timeout=0.3)))

    assert [row.reward for row in outcome.rows] == [1.0, None, 1.0]
    assert outcome.rows[1].error is not None
    assert outcome.rows[1].error.kind == "timeout"
    assert task_app.cancelled == ["run-1-1"] * 3


@pytest.mark.parametrize("code", [401, 404, 422])
async def test_a_refusal_ends_the_job_at_once(
    service: EvalService, task_app: ScriptedTaskApp, make_request: Make, code: int
) -> None:
    task_app.faults[0] = status(code, "benchmark `x` is not here; there is `scripted`")
    outcome = await service.client().run(make_request(max_concurrent=1))

    assert outcome.status == "failed"
    assert outcome.error is not None
    assert "benchmark `x` is not here; there is `scripted`" in outcome.error
    assert all(row.infrastructure_failure for row in outcome.rows)
    assert task_app.asked == {0: 1}


async def test_a_refused_key_is_not_repeated_to_anybody(
    service: EvalService, store: Store, make_request: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "evals")
    outcome = await service.client().run(make_request(task_app_api_key=SecretStr("not-the-right-key")))

    assert outcome.status == "failed"
    assert outcome.error is not None
    assert "wrong key [key]" in outcome.error
    job = await store.job(outcome.job_id)
    assert "not-the-right-key" not in f"{outcome!r} {job} {caplog.text}"


async def test_a_task_app_that_dies_ends_the_job_early(
    service: EvalService, store: Store, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    task_app.held = {1, 2, 3, 4, 5}
    running = asyncio.create_task(service.client().run(make_request(seeds=[0, 1, 2, 3, 4, 5])))
    await task_app.is_asked_for(1)
    await task_app.is_asked_for(2)
    task_app.die()
    outcome = await running

    assert outcome.status == "failed"
    assert outcome.error is not None
    assert "Nobody has listened" in outcome.error
    assert [row.reward for row in outcome.rows] == [1.0, None, None, None, None, None]
    assert [row.seed for row in await store.rows("run-1")] == [0]


async def test_a_task_app_that_died_behind_a_proxy_ends_the_job(
    service: EvalService, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    """A sandbox's proxy answers 502 in its place; to ask it for each rollout in turn would take hours."""
    for seed in range(1, 6):
        task_app.faults[seed] = status(502, times=1000)
    outcome = await service.client().run(make_request(seeds=list(range(6))))

    assert outcome.status == "failed"
    assert outcome.error is not None
    assert "Nobody has listened" in outcome.error
    assert [row.reward for row in outcome.rows] == [1.0, None, None, None, None, None]


async def test_a_proxy_that_loses_its_task_app_for_a_moment_costs_nothing(
    store: Store, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    task_app.faults[1] = status(502, times=3)
    async with serve(store, replace(IMPATIENT, unreachable=120)) as patient:
        outcome = await patient.client().run(make_request())
    assert [row.reward for row in outcome.rows] == [1.0, 1.0, 1.0]


async def test_rollouts_at_a_time_are_bounded(
    service: EvalService, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    task_app.held = set(range(8))
    running = asyncio.create_task(service.client().run(make_request(seeds=list(range(8)), max_concurrent=3)))
    for seed in range(3):
        await task_app.is_asked_for(seed)
    assert set(task_app.asked) == {0, 1, 2}
    task_app.release()
    await running
    assert task_app.most_running == 3


async def test_a_second_job_of_a_run_asks_only_for_what_has_no_score(
    service: EvalService, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    task_app.faults[1] = status(503, times=3)
    first = await service.client().run(make_request())
    second = await service.client().run(make_request(seeds=[0, 1, 2, 3]))

    assert [row.reward for row in first.rows] == [1.0, None, 1.0]
    assert [row.reward for row in second.rows] == [1.0, 1.0, 1.0, 1.0]
    assert task_app.asked == {0: 1, 1: 4, 2: 1, 3: 1}


async def test_two_jobs_of_a_run_at_once_ask_for_each_rollout_once(
    service: EvalService, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    task_app.held = {0, 1, 2}
    jobs = [asyncio.create_task(service.client().run(make_request())) for _ in range(2)]
    await task_app.is_asked_for(0)
    task_app.release()
    first, second = await asyncio.gather(*jobs)

    assert first.job_id != second.job_id
    assert first.rows == second.rows
    assert task_app.asked == {0: 1, 1: 1, 2: 1}


async def test_other_runs_do_not_share_rollouts(
    service: EvalService, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    for run_id in ("run-1", "run-2"):
        await service.client().run(make_request(run_id=run_id))
    assert task_app.asked == {0: 2, 1: 2, 2: 2}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"policy": Policy(agent="noop", timeout=20)}, "policy: agent 'gold' then, 'noop' now"),
        ({"benchmark": "other"}, "benchmark: benchmark .* then, 'other' now"),
        ({"split": "hard"}, "benchmark: split None then, 'hard' now"),
    ],
)
async def test_a_run_does_not_mix_tasks(
    service: EvalService, task_app: ScriptedTaskApp, make_request: Make, changes: dict[str, Any], told: str
) -> None:
    await service.client().run(make_request())
    with pytest.raises(ConfigurationError, match=f"another {told}.* start a new run"):
        await service.client().run(make_request(**changes))
    assert task_app.asked == {0: 1, 1: 1, 2: 1}


def _with_variables(**variables: str) -> Policy:
    given = {"agent": "gold", "timeout": 20, "context_overrides": [{"override_id": "o", "env_vars": variables}]}
    return Policy.model_validate(given)


async def test_variables_reach_the_task_app_and_are_not_written_down(
    service: EvalService, store: Store, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    policy = _with_variables(TOKEN="correct-horse-1", MODE="slow")
    outcome = await service.client().run(make_request(seeds=[0], policy=policy))
    assert task_app.bodies[0]["policy"]["config"]["context_overrides"][0]["env_vars"]["TOKEN"] == "correct-horse-1"

    (job,) = await store.jobs("run-1")
    shown = await SynthJob(service.url, service.api_key, make_request(), outcome.job_id).status()
    for told in (str(job), str(shown)):
        assert "correct-horse-1" not in told
        assert "TOKEN" in told


async def test_a_run_goes_on_with_the_same_variables_alone(service: EvalService, make_request: Make) -> None:
    for seed in (0, 1):
        await service.client().run(make_request(seeds=[seed], policy=_with_variables(TOKEN="correct-horse-1")))
    with pytest.raises(ConfigurationError, match="context_overrides another then, another now"):
        await service.client().run(make_request(seeds=[2], policy=_with_variables(TOKEN="correct-horse-2")))


async def test_cancelling_the_client_cancels_the_rollouts(
    service: EvalService, store: Store, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    task_app.held = {1, 2}
    submitted: list[str] = []

    async def on_submitted(job_id: str) -> None:
        submitted.append(job_id)

    running = asyncio.create_task(service.client().run(make_request(), on_submitted=on_submitted))
    await task_app.is_asked_for(1)
    await task_app.is_asked_for(2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert sorted(task_app.cancelled) == ["run-1-1", "run-1-2"]
    job = await store.job(submitted[0])
    assert job is not None
    assert job.status == "cancelled"
    assert [row.seed for row in await store.rows("run-1")] == [0]


async def test_a_job_can_be_cancelled_the_moment_it_is_submitted(
    service: EvalService, store: Store, task_app: ScriptedTaskApp
) -> None:
    body = {"task_app_url": task_app.url, "task_app_api_key": task_app.api_key, "seeds": [0]}
    job = await service.submit(JobRequest.model_validate(body))
    await asyncio.gather(service.cancel(job, "first"), service.cancel(job, "second"))
    await service.cancel(job, "third")

    stored = await store.job(job.id)
    assert stored is not None
    assert (job.status, job.error) == (stored.status, stored.error) == ("cancelled", "first")
    assert await service.find(job.id) is job


async def test_a_job_that_is_being_written_down_is_not_cancelled(
    service: EvalService, store: Store, task_app: ScriptedTaskApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish_job, writing, go_on = store.finish_job, asyncio.Event(), asyncio.Event()

    async def slow_finish(*arguments: Any) -> None:
        writing.set()
        await go_on.wait()
        await finish_job(*arguments)

    monkeypatch.setattr(store, "finish_job", slow_finish)
    body = {"task_app_url": task_app.url, "task_app_api_key": task_app.api_key, "seeds": [0]}
    job = await service.submit(JobRequest.model_validate(body))
    await writing.wait()
    cancelling = asyncio.create_task(service.cancel(job, "too late"))
    await asyncio.sleep(0)
    go_on.set()
    await cancelling
    assert (job.status, job.error) == ("completed", None)


async def test_a_deadline_cancels_the_job(service: EvalService, task_app: ScriptedTaskApp, make_request: Make) -> None:
    task_app.held = {2}
    with pytest.raises(InfrastructureError, match="did not end within"):
        await service.client().run(make_request(), deadline=0.5)
    assert task_app.cancelled == ["run-1-2"]


async def test_a_failing_callback_cancels_the_job(
    service: EvalService, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    task_app.held = {0, 1, 2}

    async def on_submitted(job_id: str) -> None:
        await task_app.is_asked_for(0)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await service.client().run(make_request(max_concurrent=1), on_submitted=on_submitted)
    assert task_app.cancelled == ["run-1-0"]


async def test_a_client_can_attach_to_a_running_job(
    service: EvalService, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    task_app.held = {0}
    submitted: asyncio.Queue[str] = asyncio.Queue()
    first = asyncio.create_task(service.client().run(make_request(), on_submitted=submitted.put))
    job_id = await submitted.get()
    second = asyncio.create_task(service.client().run(make_request(), job_id=job_id, on_submitted=submitted.put))
    await task_app.is_asked_for(0)
    task_app.release()

    assert await first == await second
    assert submitted.empty()
    assert task_app.asked == {0: 1, 1: 1, 2: 1}


RUNNER = """
import asyncio, sys
from evals.models import EvalRequest
from evals.service import serve
from evals.store import open_store

async def tell(job_id):
    print(job_id, flush=True)

async def main(store_url, request):
    async with open_store(store_url) as store, serve(store) as service:
        request = request | {"task_app_api_key": sys.stdin.readline().strip()}
        await service.client().run(EvalRequest.model_validate(request), on_submitted=tell)

asyncio.run(main(sys.argv[1], eval(sys.argv[2])))
"""


async def test_a_job_of_a_killed_process_has_failed_as_interrupted(
    service: EvalService, store_url: str, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    task_app.held = {1, 2}
    request = make_request()
    pipe, described = asyncio.subprocess.PIPE, repr(request.model_dump(mode="json"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUNNER, store_url, described, stdin=pipe, stdout=pipe
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{task_app.api_key.get_secret_value()}\n".encode())
    job_id = (await process.stdout.readline()).decode().strip()
    await task_app.is_asked_for(2)  # so the rollout before it was written down
    process.kill()
    await process.wait()

    attached = await service.client().run(request, job_id=job_id)
    assert attached.interrupted
    assert [row.reward for row in attached.rows] == [1.0, None, None]

    task_app.release()
    completed = await service.client().run(request)
    assert [row.reward for row in completed.rows] == [1.0, 1.0, 1.0]
    assert task_app.asked == {0: 1, 1: 2, 2: 2}


async def test_a_service_that_is_stopped_interrupts_its_jobs(
    store: Store, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    task_app.held = {1, 2}
    submitted: asyncio.Queue[str] = asyncio.Queue()
    async with serve(store, IMPATIENT) as first:
        running = asyncio.create_task(first.client().run(make_request(), on_submitted=submitted.put))
        await task_app.is_asked_for(2)  # so the rollout before it was written down
    running.cancel()
    await asyncio.wait([running])
    task_app.release()

    async with serve(store, IMPATIENT) as second:
        attached = await second.client().run(make_request(), job_id=await submitted.get())
        assert attached.interrupted
        outcome = await second.client().run(make_request())
    assert [row.reward for row in outcome.rows] == [1.0, 1.0, 1.0]
    assert task_app.asked[0] == 1


async def test_headers_reach_the_task_app_and_nothing_else(
    service: EvalService, store: Store, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    headers = {"X-Preview-Token": SecretStr("preview-token-987654321")}
    outcome = await service.client().run(make_request(task_app_headers=headers))

    assert all(sent["x-preview-token"] == "preview-token-987654321" for sent in task_app.headers)
    job = await store.job(outcome.job_id)
    assert "preview-token" not in str(job)
    assert task_app.api_key.get_secret_value() not in str(job)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", ""),
        ("GET", "/eval-1"),
        ("GET", "/eval-1/results"),
        ("GET", "/eval-1/traces"),
        ("POST", "/eval-1/cancel"),
    ],
)
async def test_every_route_wants_the_key(service: EvalService, method: str, path: str) -> None:
    async with httpx.AsyncClient() as http:
        for key in (b"", b"Bearer wrong", "Bearer wröng".encode()):
            reply = await http.request(
                method, f"{service.url}/api/eval/jobs{path}", json={}, headers={b"Authorization": key}
            )
            assert reply.status_code == 401


async def test_a_wrong_key_is_a_configuration_error(service: EvalService, make_request: Make) -> None:
    with pytest.raises(ConfigurationError, match="refuses the key"):
        await EvalClient(service.url, SecretStr("wrong")).run(make_request())


async def test_an_unknown_job_is_said_to_be_unknown(service: EvalService, make_request: Make) -> None:
    with pytest.raises(InfrastructureError, match="does not know this job"):
        await service.client().run(make_request(), job_id="eval-unknown")


async def test_an_invalid_job_is_refused_without_quoting_its_keys(service: EvalService, make_request: Make) -> None:
    body = {"task_app_url": 7, "task_app_api_key": "task-app-key", "seeds": [], "verifier_config": {"graph": "x"}}
    async with httpx.AsyncClient() as http:
        headers = {"Authorization": f"Bearer {service.api_key.get_secret_value()}"}
        reply = await http.post(f"{service.url}/api/eval/jobs", json=body, headers=headers)
    assert reply.status_code == 422
    assert "body.seeds" in reply.text
    assert "verifier_config" in reply.text
    assert "task-app-key" not in reply.text


async def test_a_store_that_fails_ends_the_job(
    service: EvalService, store: Store, make_request: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> None:
        raise InfrastructureError("The disk is full: free some space.")

    monkeypatch.setattr(store, "put", full)
    outcome = await service.client().run(make_request())
    assert (outcome.status, outcome.error) == ("failed", "The disk is full: free some space.")
    assert all(row.infrastructure_failure for row in outcome.rows)


async def test_a_rollout_that_finishes_while_the_job_is_cancelled_is_written_down(
    service: EvalService, store: Store, make_request: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, writing, go_on = store.put, asyncio.Event(), asyncio.Event()

    async def slow_put(run_id: str, job_id: str, row: Row, artifacts: Any) -> None:
        writing.set()
        await go_on.wait()
        await put(run_id, job_id, row, artifacts)

    monkeypatch.setattr(store, "put", slow_put)
    submitted: asyncio.Queue[str] = asyncio.Queue()
    running = asyncio.create_task(service.client().run(make_request(seeds=[0]), on_submitted=submitted.put))
    await writing.wait()
    job = await service.find(await submitted.get())
    assert job is not None
    cancelling = asyncio.create_task(service.cancel(job, "enough"))
    await asyncio.sleep(0)
    go_on.set()
    await cancelling
    assert (await running).status == "cancelled"
    assert [row.seed for row in await store.rows("run-1")] == [0]


async def test_the_artifacts_can_be_downloaded(service: EvalService, make_request: Make, tmp_path: Any) -> None:
    outcome = await service.client().run(make_request(seeds=[0, 1]))
    files = await service.client().download_traces(outcome.job_id, tmp_path / "traces")

    names = [file.relative_to(tmp_path / "traces").as_posix() for file in files]
    assert names == ["run-1-0/final.rs", "run-1-0/row.json", "run-1-1/final.rs", "run-1-1/row.json"]
    assert files[0].read_text() == "fn seed_0() {}"
    assert Row.model_validate_json(files[1].read_text()) == outcome.rows[0]


async def test_a_job_that_is_done_takes_over_what_a_slower_one_has_not_begun(
    service: EvalService, make_request: Make, task_app: ScriptedTaskApp
) -> None:
    task_app.held = {0}
    slow = make_request(seeds=[0, 1, 2, 3], others=[4, 5], max_concurrent=1)
    quick = make_request(seeds=[4, 5], others=[0, 1, 2, 3], max_concurrent=1)
    client = service.client()
    waiting = asyncio.create_task(client.run(slow))
    await task_app.is_asked_for(0)
    done = await client.run(quick)
    assert done.status == "completed"
    assert {row.seed for row in done.rows} == {4, 5}
    assert set(task_app.asked) == {0, 1, 2, 3, 4, 5}
    task_app.release()
    rest = await waiting
    assert [row.reward for row in rest.rows] == [1.0] * 4
    assert set(task_app.asked.values()) == {1}
    assert all("others" not in body["env"]["config"] for body in task_app.bodies)


async def test_what_a_job_took_over_in_vain_is_asked_for_again_by_its_owner(
    service: EvalService, make_request: Make, task_app: ScriptedTaskApp
) -> None:
    task_app.held = {0}
    task_app.faults = {1: status(503, times=3)}
    owner = asyncio.create_task(service.client().run(make_request(seeds=[0, 1], others=[2], max_concurrent=1)))
    await task_app.is_asked_for(0)
    await service.client().run(make_request(seeds=[2], others=[0, 1], max_concurrent=1))
    assert task_app.asked[1] == 3
    task_app.release()
    assert [row.reward for row in (await owner).rows] == [1.0, 1.0]


async def test_what_its_own_job_gave_up_is_tried_by_one_other_job_alone(
    service: EvalService, make_request: Make, task_app: ScriptedTaskApp
) -> None:
    task_app.faults = {0: status(503)}
    client = service.client()
    (given_up,) = (await client.run(make_request(seeds=[0]))).rows
    for seed in (1, 2, 3):
        await client.run(make_request(seeds=[seed], others=[0]))
    assert given_up.reward is None
    assert task_app.asked == {0: 6, 1: 1, 2: 1, 3: 1}


async def test_what_its_own_job_gave_up_and_another_one_scored_counts_as_scored(
    service: EvalService, make_request: Make, task_app: ScriptedTaskApp
) -> None:
    task_app.faults = {0: status(503, times=3)}
    task_app.held = {0, 1}
    client = service.client()
    owner = asyncio.create_task(client.run(make_request(seeds=[0, 1], max_concurrent=1)))
    await task_app.is_asked_for(1)  # so seed 0 has been given up
    other = asyncio.create_task(client.run(make_request(seeds=[2], others=[0, 1], max_concurrent=1)))
    await task_app.is_asked_for(0)
    task_app.release()
    assert [row.reward for row in (await owner).rows] == [1.0, 1.0]
    await other


async def test_what_an_earlier_run_has_kept_is_graded_again(
    service: EvalService, store: Store, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    task_app.rewards = {0: 0.5, 1: 0.0}
    task_app.faults[1] = changed(lambda reply: reply.update(artifact=[]))
    before = (await service.client().run(make_request(seeds=[0, 1]))).rows
    task_app.bodies.clear()
    task_app.rewards = {0: 0.75, 1: 1.0}

    again = make_request(run_id="run-2", seeds=[0, 1], rescore="run-1")
    for _ in range(2):
        rows = (await service.client().run(again)).rows
        assert [(row.correlation_id, row.reward) for row in rows] == [("run-2-0", 0.75), ("run-2-1", 0.0)]
    (asked,) = task_app.bodies
    assert asked["submission"] == "fn seed_0() {}"
    assert "rescore" not in asked["env"]["config"]
    assert await store.rows("run-1") == before, "the old scores are kept"


async def test_a_run_can_not_go_on_as_a_rescoring(service: EvalService, make_request: Make) -> None:
    await service.client().run(make_request(seeds=[0]))
    with pytest.raises(ConfigurationError, match="another benchmark"):
        await service.client().run(make_request(seeds=[1], rescore="run-0"))


async def test_the_end_of_a_job_is_noticed_at_once_however_seldom_it_is_polled(
    service: EvalService, task_app: ScriptedTaskApp, make_request: Make
) -> None:
    task_app.held = {0}
    client = service.client()
    client._pace = replace(client._pace, shortest=1000, longest=1000)
    running = asyncio.create_task(client.run(make_request(seeds=[0])))
    await task_app.is_asked_for(0)
    task_app.release()
    async with asyncio.timeout(60):
        assert (await running).status == "completed"
