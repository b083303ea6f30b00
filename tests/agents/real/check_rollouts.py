"""The real agents with a scripted model, on the bundled benchmark, in a sandbox of the local backend."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from core.settings import Settings
from sandboxes.base import SandboxSpec
from sandboxes.local import LocalBackend
from tests.agents.real import rollouts
from tests.agents.real.rollouts import AGENTS, left_running, rollout, solve_three_instances
from tests.agents.real.sample import broken, instances
from tests.scripted_model import ScriptedModel


@pytest.fixture
async def task_app(tmp_path: Path, installed: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    backend = LocalBackend(Settings(cache_dir=tmp_path / "cache"))
    spec = SandboxSpec(name="real-agents", run_id="real-agents", lane=0)
    async with rollouts.task_app(backend, spec, ("cargo",), installed) as (client, _):
        yield client


@pytest.mark.parametrize("agent", AGENTS)
async def test_an_agent_solves_three_instances(task_app: httpx.AsyncClient, model: ScriptedModel, agent: str) -> None:
    await solve_three_instances(task_app, model, agent)


async def test_what_does_not_compile_is_a_zero(task_app: httpx.AsyncClient, model: ScriptedModel) -> None:
    script = broken(instances()[0])
    for response in await asyncio.gather(*(rollout(task_app, model, agent, 0, script) for agent in AGENTS)):
        assert response["success_status"] == "success", response
        assert response["reward_info"]["outcome_reward"] == 0.0
        assert response["reward_info"]["details"]["failure"]["kind"] == "does-not-compile"


async def test_no_agent_looks_up_a_name(
    task_app: httpx.AsyncClient, model: ScriptedModel, lookups: list[bytes] | None
) -> None:
    """Where it has a way to the internet, which looks names up for it; and that is not in the way to its model."""
    if lookups is None:
        pytest.skip("whether a name was looked up can't be told without root")
    responses = await asyncio.gather(*(rollout(task_app, model, agent, 0, internet=True) for agent in AGENTS))
    assert [response["reward_info"]["outcome_reward"] for response in responses] == [1.0] * len(AGENTS)
    assert lookups == []


async def test_six_rollouts_at_once_share_nothing(task_app: httpx.AsyncClient, model: ScriptedModel) -> None:
    pairs = [(agent, seed) for seed in range(2) for agent in AGENTS]
    running = asyncio.gather(*(rollout(task_app, model, *pair) for pair in pairs))
    while not await asyncio.to_thread(left_running):  # else it could not tell afterwards either
        assert not running.done()
    responses = await running
    for (agent, seed), response in zip(pairs, responses, strict=True):
        assert response["reward_info"]["outcome_reward"] == 1.0, response
        own = f"marker-of-{agent}-{seed}"
        everything = json.dumps(response)
        assert own in everything
        assert not [
            f"marker-of-{a}-{s}" for a, s in pairs if (a, s) != (agent, seed) and f"marker-of-{a}-{s}" in everything
        ]
    assert left_running() == []
