"""The real agents while their model fails: what scores, and what does not."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from tests.agents.scenarios import DONE, KEY, MODEL
from tests.scripted_model import Bash, Cut, Refuse, Say, Script, ScriptedModel, Silence
from tests.task_app.serving import RESPOND_ASYNC, ended, serving, settings

AGENTS = ("opencode", "codex", "claude_code")
DOWN = "http://127.0.0.1:9"


TIMEOUT = 180
"""Seconds for agents that end by themselves, if only after their retries, on a busy machine."""
WAITED_OUT = 60
"""Seconds for those that don't: what the check takes."""
SILENT = "Check that|had no answer from the model"
"""The latter from an agent that took so long to start that its first answer was not due yet."""


@pytest.fixture
async def task_app(tmp_path: Path, installed: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    given = {name: SecretStr(value) for name, value in {"INFERENCE_API_KEY": KEY, **installed}.items()}
    async with serving(settings(tmp_path / "work", slots=len(AGENTS), agent_environment=given)) as client:
        yield client


async def rollouts(client: httpx.AsyncClient, url: str, **policy: Any) -> dict[str, dict[str, Any]]:
    """The responses of all agents, which work side by side."""

    async def rollout(agent: str) -> dict[str, Any]:
        config = {"agent": agent, "model": MODEL, "inference_url": url, "timeout": TIMEOUT, **policy}
        body = {"trace_correlation_id": agent, "env": {"seed": 0}, "policy": {"config": config}}
        (await client.post("/rollout", json=body, headers=RESPOND_ASYNC)).raise_for_status()
        return await ended(client, agent)

    return dict(zip(AGENTS, await asyncio.gather(*map(rollout, AGENTS)), strict=True))


def play(model: ScriptedModel, script: Script) -> str:
    """Let each agent's model follow the script. Returns where it is."""
    for agent in AGENTS:
        model.add(agent, script)
    return f"{model.base_url}/s"


@pytest.mark.parametrize(
    ("script", "timeout", "says"),
    [
        (Script(DONE, key="another"), TIMEOUT, "key was refused: check INFERENCE_API_KEY"),
        (Script([[Refuse(403, "not yours")]]), TIMEOUT, "key was refused: check INFERENCE_API_KEY"),
        (Script([[Refuse(429, "Quota exceeded", "insufficient_quota")]]), TIMEOUT, "quota is used up"),
        (Script([[Refuse(429, "Slow down", "rate_limit_exceeded")]]), TIMEOUT, "Too many requests"),
        (Script([[Refuse(404, "No model scripted", "model_not_found")]]), TIMEOUT, "Check the model's name"),
        (Script([[Refuse(500, "The server had an error")]]), TIMEOUT, "Check that"),
        (Script([[Silence()]]), WAITED_OUT, SILENT),
        (Script([DONE[0], [Silence()]]), WAITED_OUT, SILENT),
        (Script([[Cut(), *DONE[0]]]), WAITED_OUT, "model"),
    ],
    ids=[
        *("key refused", "forbidden", "quota", "too many requests", "no such model"),
        *("server error", "silent", "silent later", "cut"),
    ],
)
async def test_a_failing_model_is_no_score(
    task_app: httpx.AsyncClient, model: ScriptedModel, script: Script, timeout: int, says: str
) -> None:
    for agent, response in (await rollouts(task_app, play(model, script), timeout=timeout)).items():
        assert response["success_status"] == "infrastructure_failure", (agent, response)
        assert response["reward_info"]["outcome_reward"] is None
        assert re.search(says, response["status_detail"]), agent
        assert KEY not in str(response)


async def test_a_model_that_is_down_is_no_score(task_app: httpx.AsyncClient) -> None:
    for agent, response in (await rollouts(task_app, DOWN)).items():
        assert response["success_status"] == "infrastructure_failure", (agent, response)
        assert DOWN in response["status_detail"]


async def test_an_error_that_a_retry_gets_over_costs_nothing(task_app: httpx.AsyncClient, model: ScriptedModel) -> None:
    url = play(model, Script([[Refuse(500, times=1), *DONE[0]], *DONE[1:]]))
    for agent, response in (await rollouts(task_app, url)).items():
        assert response["reward_info"]["outcome_reward"] == 1.0, (agent, response)


@pytest.mark.parametrize(
    ("script", "policy", "kind"),
    [
        (Script([[Say("I would rather not.")]]), {}, "agent-failed"),
        (Script([[Bash("sleep 600")]]), {"timeout": WAITED_OUT}, "agent-timeout"),
        (Script([[Bash("true")]]), {"max_turns": 2}, "turn-limit"),
    ],
    ids=["wrote nothing", "timed out", "turn limit"],
)
async def test_what_is_the_agents_own_doing_scores(
    task_app: httpx.AsyncClient, model: ScriptedModel, script: Script, policy: dict[str, Any], kind: str
) -> None:
    for agent, response in (await rollouts(task_app, play(model, script), **policy)).items():
        assert response["success_status"] == "success", (agent, response)
        assert response["reward_info"]["outcome_reward"] == 0.0
        assert response["reward_info"]["details"]["failure"]["kind"] == kind, agent


async def test_a_program_that_is_killed_is_no_score(task_app: httpx.AsyncClient, model: ScriptedModel) -> None:
    """As by the kernel where memory runs out: whoever runs the tools, in the middle of its work."""
    url = play(model, Script([[Bash("kill -9 $PPID")]]))
    for agent, response in (await rollouts(task_app, url)).items():
        assert response["success_status"] == "infrastructure_failure", (agent, response)
        assert "killed from outside" in response["status_detail"], agent
