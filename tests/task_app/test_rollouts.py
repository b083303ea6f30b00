"""Rollouts over HTTP: each performed once, a bounded number at a time, ended cleanly."""

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from task_app import processes
from task_app.agents import AgentContext, AgentOutcome
from task_app.benchmarks import ReferenceFile, Task
from task_app.benchmarks.base import Reference
from task_app.benchmarks.hello_world import HelloWorld
from task_app.contracts import PolicyConfig
from task_app.errors import InfrastructureFailure
from tests.task_app.scripted import Patient, Scripted
from tests.task_app.serving import RESPOND_ASYNC, ended, rollout, running, serving, settings


async def _state(client: httpx.AsyncClient, id: str) -> str:
    body = (await client.get(f"/rollouts/{id}")).json()
    return str(body.get("status") or body["success_status"])


async def _submit(client: httpx.AsyncClient, id: str, agent: str, **config: Any) -> httpx.Response:
    return await client.post("/rollout", json=rollout(id, agent, **config), headers=RESPOND_ASYNC)


async def test_a_repeated_id_is_the_same_rollout_running_or_finished(tmp_path: Path) -> None:
    agent = Patient()
    async with serving(settings(tmp_path, slots=4), {"patient": agent}) as client:
        for _ in range(3):
            assert (await _submit(client, "one", "patient")).status_code == 202
        agent.let_go.set()
        waiting = [client.post("/rollout", json=rollout("one", "patient")) for _ in range(3)]
        bodies = [reply.json() for reply in await asyncio.gather(*waiting)]
        assert bodies == [await ended(client, "one")] * 3
    assert agent.runs == 1


async def test_an_id_used_for_another_request_is_a_conflict(hello: httpx.AsyncClient) -> None:
    await hello.post("/rollout", json=rollout("one", seed=0))
    reply = await hello.post("/rollout", json=rollout("one", seed=1))
    assert reply.status_code == 409
    assert "another seed, environment or policy" in reply.json()["detail"]


async def test_what_the_slots_do_not_hold_waits(tmp_path: Path) -> None:
    agent = Patient()
    async with serving(settings(tmp_path, slots=2), {"patient": agent}) as client:
        for id in ("a", "b", "c"):
            await _submit(client, id, "patient")
        await agent.started.acquire()
        await agent.started.acquire()
        assert [await _state(client, id) for id in ("a", "b", "c")] == ["running", "running", "queued"]
        agent.let_go.set()
        responses = [await ended(client, id) for id in ("a", "b", "c")]
    queued = [response["reward_info"]["details"]["phases"]["queue"] for response in responses]
    assert queued[2] > max(queued[:2])
    assert agent.runs == 3


async def test_a_rollout_outlives_its_client(tmp_path: Path) -> None:
    agent = Patient()
    async with serving(settings(tmp_path), {"patient": agent}) as client:
        async with httpx.AsyncClient(base_url=client.base_url, headers=client.headers, trust_env=False) as other:
            asking = asyncio.create_task(other.post("/rollout", json=rollout("one", "patient")))
            await agent.started.acquire()
            asking.cancel()
            await asyncio.wait({asking})
        agent.let_go.set()
        assert (await ended(client, "one"))["reward_info"]["outcome_reward"] == 1.0
    assert (agent.runs, agent.cancelled) == (1, 0)


async def test_a_poll_learns_of_the_end_while_it_waits(tmp_path: Path) -> None:
    agent = Patient()
    async with serving(settings(tmp_path), {"patient": agent}) as client:
        await _submit(client, "one", "patient")
        await agent.started.acquire()
        assert (await client.get("/rollouts/one", params={"wait": 0.01})).status_code == 202
        polling = asyncio.create_task(client.get("/rollouts/one", params={"wait": 1e6}))
        agent.let_go.set()
        assert (await polling).json()["success_status"] == "success"
        assert (await client.get("/rollouts/one", params={"wait": "nan"})).status_code == 422


class Sleeper:
    """Runs a program that would run for ever, and has a child in a session of its own."""

    name, description, uses_reference = "sleeper", "runs a program", False

    def __init__(self) -> None:
        self.pids: asyncio.Queue[int] = asyncio.Queue()

    async def run(self, task: Task, policy: PolicyConfig, context: AgentContext) -> AgentOutcome:
        script = (
            "import os, subprocess, sys, time\n"
            "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
            "print(os.getpid(), flush=True); print(child.pid, flush=True)\n"
            "time.sleep(600)\n"
        )
        await processes.run(
            [sys.executable, "-c", script], cwd=task.workspace, env={}, timeout=600, on_output=self._note
        )
        return AgentOutcome()

    def _note(self, stream: str, chunk: bytes) -> None:
        for pid in chunk.split():
            self.pids.put_nowait(int(pid))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.parametrize("task_allows", [True, False])
async def test_an_agent_has_the_internet_only_if_both_policy_and_task_let_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task_allows: bool
) -> None:
    seen: list[bool] = []
    prepare = HelloWorld.prepare
    monkeypatch.setattr(HelloWorld, "prepare", lambda *given: replace(prepare(*given), internet=task_allows))
    agent = Scripted(lambda task, context: seen.append(context.internet))
    async with serving(settings(tmp_path), {"scripted": agent}) as client:
        for number, policy in enumerate(({}, {"internet": False}, {"internet": True})):
            body = rollout(f"rollout-{number}", "scripted")
            body["policy"]["config"] |= policy
            (await client.post("/rollout", json=body)).raise_for_status()
    assert seen == [False, False, task_allows]


async def test_cancelling_leaves_no_process_and_no_files(tmp_path: Path) -> None:
    agent = Sleeper()
    async with serving(settings(tmp_path), {"sleeper": agent}) as client:
        await _submit(client, "one", "sleeper")
        pids = [await agent.pids.get(), await agent.pids.get()]
        assert all(_is_alive(pid) for pid in pids)
        reply = await client.delete("/rollouts/one")
        assert not any(_is_alive(pid) for pid in pids)
        assert reply.json()["success_status"] == "cancelled"
        assert reply.json()["reward_info"]["outcome_reward"] is None
        assert list((tmp_path / "rollouts").iterdir()) == []


async def test_cancelling_what_is_queued_or_finished(tmp_path: Path) -> None:
    agent = Patient()
    async with serving(settings(tmp_path), {"patient": agent}) as client:
        await _submit(client, "running", "patient")
        await agent.started.acquire()
        await _submit(client, "queued", "patient")
        assert (await client.delete("/rollouts/queued")).json()["success_status"] == "cancelled"
        agent.let_go.set()
        finished = await ended(client, "running")
        for _ in range(2):
            assert (await client.delete("/rollouts/running")).json() == finished
        assert (await client.delete("/rollouts/unknown")).status_code == 404
    assert agent.runs == 1


async def test_whoever_waits_for_a_cancelled_rollout_is_told(tmp_path: Path) -> None:
    agent = Patient()
    async with serving(settings(tmp_path), {"patient": agent}) as client:
        asking = asyncio.create_task(client.post("/rollout", json=rollout("one", "patient")))
        await agent.started.acquire()
        await client.delete("/rollouts/one")
        reply = await asking
        assert (reply.status_code, reply.json()) == (503, {"detail": "The rollout was cancelled."})


async def test_what_got_no_score_is_run_again_on_a_repeat(tmp_path: Path) -> None:
    failing = [True]

    def act(task: Task, context: AgentContext) -> None:
        if failing[0]:
            raise InfrastructureFailure("The provider refused the key.")
        (task.workspace / task.file).write_text("Hello, world!")

    agent, patient = Scripted(act), Patient()
    async with serving(settings(tmp_path), {"scripted": agent, "patient": patient}) as client:
        reply = await client.post("/rollout", json=rollout("one", "scripted"))
        assert (reply.status_code, reply.json()) == (503, {"detail": "The provider refused the key."})
        failed = (await client.get("/rollouts/one")).json()
        assert failed["success_status"] == "infrastructure_failure"
        assert failed["reward_info"]["details"]["failure"]["kind"] == "InfrastructureFailure"
        failing[0] = False
        assert (await client.post("/rollout", json=rollout("one", "scripted"))).status_code == 200

        await _submit(client, "two", "patient")
        await patient.started.acquire()
        await client.delete("/rollouts/two")
        patient.let_go.set()
        await _submit(client, "two", "patient")
        assert (await ended(client, "two"))["success_status"] == "success"
    assert (agent.runs, patient.runs) == (2, 2)


async def test_a_bug_is_no_zero_and_shows_no_internals(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def act(task: Task, context: AgentContext) -> None:
        raise ValueError("secret internals")

    async with serving(settings(tmp_path), {"scripted": Scripted(act)}) as client:
        reply = await client.post("/rollout", json=rollout("one", "scripted"))
    assert reply.status_code == 503
    assert "ValueError" in reply.json()["detail"]
    assert "secret internals" not in reply.text
    assert "secret internals" in caplog.text


async def test_stopping_cancels_what_runs_and_answers_who_waits(tmp_path: Path) -> None:
    agent = Patient()
    async with running(settings(tmp_path), {"patient": agent}) as (client, stopped, server):
        waiting = asyncio.create_task(client.post("/rollout", json=rollout("one", "patient")))
        await agent.started.acquire()
        await _submit(client, "two", "patient")
        server.should_exit = True
        assert (await waiting).status_code == 503
        await stopped
    assert (agent.runs, agent.cancelled) == (1, 1)


async def test_only_gold_is_given_the_reference(tmp_path: Path) -> None:
    seen: list[Reference | None] = []

    def act(task: Task, context: AgentContext) -> None:
        seen.append(context.reference)
        assert context.home.is_dir()
        assert sorted(path.name for path in task.workspace.iterdir()) == ["README.md"]

    agents = {"plain": Scripted(act), "privileged": Scripted(act, uses_reference=True)}
    async with serving(settings(tmp_path), agents) as client:
        await client.post("/rollout", json=rollout("one", "plain"))
        await client.post("/rollout", json=rollout("two", "privileged"))
    assert seen == [None, ReferenceFile("Hello, world!\n")]


async def test_a_submission_is_graded_and_no_agent_runs(tmp_path: Path) -> None:
    agent = Patient()
    async with serving(settings(tmp_path), {"patient": agent}) as client:
        asked = [
            rollout(f"again-{number}", "patient") | {"submission": text}
            for number, text in enumerate(("Hello, world!\r\n", "Nobody\n"))
        ]
        right, wrong = [(await client.post("/rollout", json=body)).json() for body in asked]
    assert agent.runs == 0
    assert (right["reward_info"]["outcome_reward"], wrong["reward_info"]["outcome_reward"]) == (1.0, 0.0)
    kept = {artifact["name"]: artifact["content"] for artifact in right["artifact"]}
    assert kept["final.txt"] == "Hello, world!\r\n"
    assert "No agent ran" in kept["agent.log"]
