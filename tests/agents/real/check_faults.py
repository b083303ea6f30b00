"""The real agents while their model fails: what scores, and what does not."""

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


@pytest.fixture
async def task_app(tmp_path: Path, installed: dict[str, str]) -> AsyncIterator[httpx.AsyncClient]:
    given = {name: SecretStr(value) for name, value in {"INFERENCE_API_KEY": KEY, **installed}.items()}
    async with serving(settings(tmp_path / "work", agent_environment=given)) as client:
        yield client


async def rollout(client: httpx.AsyncClient, agent: str, url: str, **policy: Any) -> dict[str, Any]:
    config = {"agent": agent, "model": MODEL, "inference_url": url, "timeout": 20, **policy}
    body = {"trace_correlation_id": agent, "env": {"seed": 0}, "policy": {"config": config}}
    (await client.post("/rollout", json=body, headers=RESPOND_ASYNC)).raise_for_status()
    return await ended(client, agent)


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize(
    ("script", "says"),
    [
        (Script(DONE, key="another"), "key was refused: check INFERENCE_API_KEY"),
        (Script([[Refuse(403, "not yours")]]), "key was refused: check INFERENCE_API_KEY"),
        (Script([[Refuse(429, "You exceeded your current quota", "insufficient_quota")]]), "quota is used up"),
        (Script([[Refuse(404, "The model scripted does not exist", "model_not_found")]]), "Check the model's name"),
        (Script([[Refuse(500, "The server had an error")]]), "Check that"),
        (Script([[Silence()]]), "Check that"),
        (Script([DONE[0], [Silence()]]), "Check that"),
        (Script([[Cut(), *DONE[0]]]), "model"),
    ],
    ids=["key refused", "forbidden", "quota", "no such model", "server error", "silent", "silent later", "cut"],
)
async def test_a_failing_model_is_no_score(
    task_app: httpx.AsyncClient, model: ScriptedModel, agent: str, script: Script, says: str
) -> None:
    model.add(agent, script)
    response = await rollout(task_app, agent, f"{model.base_url}/s")
    assert response["success_status"] == "infrastructure_failure", response
    assert response["reward_info"]["outcome_reward"] is None
    assert re.search(says, response["status_detail"])
    assert KEY not in str(response)


@pytest.mark.parametrize("agent", AGENTS)
async def test_a_model_that_is_down_is_no_score(task_app: httpx.AsyncClient, agent: str) -> None:
    response = await rollout(task_app, agent, DOWN)
    assert response["success_status"] == "infrastructure_failure"
    assert DOWN in response["status_detail"]


@pytest.mark.parametrize("agent", AGENTS)
async def test_an_error_that_a_retry_gets_over_costs_nothing(
    task_app: httpx.AsyncClient, model: ScriptedModel, agent: str
) -> None:
    model.add(agent, Script([[Refuse(500, times=1), *DONE[0]], *DONE[1:]]))
    response = await rollout(task_app, agent, f"{model.base_url}/s", timeout=60)
    assert response["reward_info"]["outcome_reward"] == 1.0, response


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize(
    ("script", "policy", "kind"),
    [
        (Script([[Say("I would rather not.")]]), {}, "agent-failed"),
        (Script([[Bash("sleep 600")]]), {"timeout": 12}, "agent-timeout"),
        (Script([[Bash("true")]]), {"max_turns": 2, "timeout": 60}, "turn-limit"),
    ],
    ids=["wrote nothing", "timed out", "turn limit"],
)
async def test_what_is_the_agents_own_doing_scores(
    task_app: httpx.AsyncClient, model: ScriptedModel, agent: str, script: Script, policy: dict[str, Any], kind: str
) -> None:
    model.add(agent, script)
    response = await rollout(task_app, agent, f"{model.base_url}/s", **policy)
    assert response["success_status"] == "success", response
    assert response["reward_info"]["outcome_reward"] == 0.0
    assert response["reward_info"]["details"]["failure"]["kind"] == kind
