"""The real agents with a scripted model, on the bundled benchmark, in a sandbox of the local backend."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from pydantic import SecretStr

from core.settings import Settings
from sandboxes.base import SandboxSpec
from sandboxes.bundle import build
from sandboxes.local import LocalBackend
from task_app.agents.workplace import AGENT_UIDS
from tests.agents import programs
from tests.agents.real.conftest import PLANTED
from tests.agents.real.sample import SAMPLE, instances, solution
from tests.agents.scenarios import KEY, MODEL
from tests.scripted_model import ScriptedModel
from tests.task_app.serving import KEY as TASK_APP_KEY
from tests.task_app.serving import NONCE, RESPOND_ASYNC, ROOT, ended

AGENTS = ("opencode", "codex", "claude_code")
SLOTS = 6


@pytest.fixture
async def task_app(tmp_path: Path, installed: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a task app that holds the bundled benchmark, in a sandbox as a flow makes it."""
    backend = LocalBackend(Settings(cache_dir=tmp_path / "cache"))
    spec = SandboxSpec(name="real-agents", run_id="real-agents", lane=0)
    given = {
        "ENVIRONMENT_API_KEY": TASK_APP_KEY,
        "ENGINE_BENCH_NONCE": NONCE,
        "ENGINE_BENCH_SLOTS": str(SLOTS),
        "ENGINE_BENCH_SEAL": "1",
        "INFERENCE_API_KEY": KEY,
        **installed,
    }
    try:
        sandbox = await backend.provision(spec)
        await backend.upload(sandbox, build({"task_app": ROOT / "task_app", "benchmark": SAMPLE}))
        await backend.install(sandbox, ("cargo",))
        sandbox = await backend.start(sandbox, {name: SecretStr(value) for name, value in given.items()})
        await backend.health(sandbox, NONCE, timeout=300)
        endpoint = await backend.endpoint(sandbox)
        headers = {"X-API-Key": TASK_APP_KEY}
        async with httpx.AsyncClient(base_url=endpoint.url, headers=headers, timeout=60, trust_env=False) as client:
            yield client
    finally:
        await backend.cleanup(spec)


async def rollout(client: httpx.AsyncClient, model: ScriptedModel, agent: str, seed: int) -> dict[str, Any]:
    """The response of a rollout whose model writes the right thing."""
    id = f"{agent}-{seed}"
    model.add(id, solution(instances()[seed], marker=f"marker-of-{id}"))
    policy = {"agent": agent, "model": MODEL, "inference_url": f"{model.base_url}/s", "timeout": 120}
    body = {"trace_correlation_id": id, "env": {"seed": seed}, "policy": {"config": policy}}
    (await client.post("/rollout", json=body, headers=RESPOND_ASYNC)).raise_for_status()
    return await ended(client, id)


def artifacts(response: Mapping[str, Any]) -> dict[str, str]:
    return {artifact["name"]: artifact["content"] for artifact in response["artifact"]}


@pytest.mark.parametrize("agent", AGENTS)
async def test_an_agent_solves_three_instances(task_app: httpx.AsyncClient, model: ScriptedModel, agent: str) -> None:
    for seed in range(3):
        response = await rollout(task_app, model, agent, seed)
        details = response["reward_info"]["details"]
        assert response["reward_info"]["outcome_reward"] == 1.0, response
        assert (details["tokens"], details["turns"]) == (4 * 1050, 4)
        assert details["failure"] is None
        _check_trajectory(artifacts(response), agent)
        assert {asked.key for asked in model.asked[f"{agent}-{seed}"]} == {KEY}


def _check_trajectory(files: Mapping[str, str], agent: str) -> None:
    trajectory = json.loads(files["trajectory.json"])
    turns = trajectory["turns"]
    assert trajectory["agent"] == agent
    assert trajectory["usage"]["input_tokens"] == 4000
    assert trajectory["usage"]["cached_input_tokens"] == 800
    assert len(turns) == 4
    assert turns[0]["text"].startswith("I look at the outline.")
    assert turns[3]["text"].startswith("It compiles.")
    looked_around = turns[2]["tool_calls"][0]["result"]
    assert "Finished" in looked_around  # cargo works in there
    for name, content in files.items():
        assert PLANTED not in content, name
        assert KEY not in content, name


async def test_six_rollouts_at_once_share_nothing(
    task_app: httpx.AsyncClient, model: ScriptedModel, lookups: list[bytes] | None
) -> None:
    pairs = [(agent, seed) for seed in range(2) for agent in AGENTS]
    responses = await asyncio.gather(*(rollout(task_app, model, *pair) for pair in pairs))
    for (agent, seed), response in zip(pairs, responses, strict=True):
        assert response["reward_info"]["outcome_reward"] == 1.0, response
        own = f"marker-of-{agent}-{seed}"
        everything = json.dumps(response)
        assert own in everything
        assert not [
            f"marker-of-{a}-{s}" for a, s in pairs if (a, s) != (agent, seed) and f"marker-of-{a}-{s}" in everything
        ]
    assert _agents_running() == []
    if lookups is None:
        pytest.skip("whether a name was looked up can't be told without root")
    assert lookups == []


def _agents_running() -> list[str]:
    """Command lines of processes that an agent has left: known by its user or, without root, by its program."""
    found = []
    for process in psutil.process_iter(["cmdline", "uids"]):
        command, uids = " ".join(process.info["cmdline"] or []), process.info["uids"]
        its_own = (uids and uids.real in AGENT_UIDS) or "/programs/" in command or str(programs.FOLDER) in command
        if its_own and _network_of(process.pid) == _network_of(os.getpid()):
            found.append(command)
    return found


def _network_of(pid: int) -> str | None:
    """Tells processes of these checks from those of another run on this machine; None for one that has ended."""
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except FileNotFoundError:
        return None
