"""Rollouts of the real agents on the bundled benchmark in a sandbox of either backend, and what is expected of them."""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import psutil
from pydantic import SecretStr

from sandboxes.base import Backend, Sandbox, SandboxSpec
from sandboxes.bundle import build
from tests.agents.real.conftest import PLANTED
from tests.agents.real.sample import SAMPLE, instances, solution
from tests.agents.scenarios import KEY, MODEL
from tests.scripted_model import Script, ScriptedModel
from tests.task_app.serving import KEY as TASK_APP_KEY
from tests.task_app.serving import NONCE, RESPOND_ASYNC, ROOT, ended

AGENTS = ("opencode", "codex", "claude_code")
SLOTS = 6
TIMEOUT = 240
"""Seconds: six agents at once take that long on a busy machine."""
MARK = secrets.token_hex(16)
"""In the environment of all that an agent starts."""


@contextlib.asynccontextmanager
async def task_app(
    backend: Backend, spec: SandboxSpec, tools: tuple[str, ...], programs: Mapping[str, str]
) -> AsyncIterator[tuple[httpx.AsyncClient, Sandbox]]:
    """A client of a task app that holds the bundled benchmark, in a sandbox as a flow makes it; all gone at the end."""
    given = {
        "ENVIRONMENT_API_KEY": TASK_APP_KEY,
        "ENGINE_BENCH_NONCE": NONCE,
        "ENGINE_BENCH_SLOTS": str(SLOTS),
        "ENGINE_BENCH_SEAL": "1",
        "INFERENCE_API_KEY": KEY,
        **programs,
    }
    try:
        sandbox = await backend.provision(spec)
        await backend.upload(sandbox, build({"task_app": ROOT / "task_app", "benchmark": SAMPLE}))
        await backend.install(sandbox, tools)
        sandbox = await backend.start(sandbox, {name: SecretStr(value) for name, value in given.items()})
        await backend.health(sandbox, NONCE, timeout=300)
        endpoint = await backend.endpoint(sandbox)
        headers = {name: value.get_secret_value() for name, value in endpoint.headers.items()}
        headers["X-API-Key"] = TASK_APP_KEY
        async with httpx.AsyncClient(base_url=endpoint.url, headers=headers, timeout=60, trust_env=False) as client:
            yield client, sandbox
    finally:
        await backend.cleanup(spec)


async def rollout(
    client: httpx.AsyncClient, model: ScriptedModel, agent: str, seed: int, script: Script | None = None, **config: Any
) -> dict[str, Any]:
    """The response of a rollout whose model follows the script, or writes the right thing."""
    id = f"{agent}-{seed}"
    model.add(id, script or solution(instances()[seed], marker=f"marker-of-{id}"))
    policy = {"agent": agent, "model": MODEL, "inference_url": f"{model.base_url}/s", "timeout": TIMEOUT, **config}
    policy["context_overrides"] = [{"env_vars": {"MARK_OF_CHECKS": MARK}}]
    body = {"trace_correlation_id": id, "env": {"seed": seed}, "policy": {"config": policy}}
    (await client.post("/rollout", json=body, headers=RESPOND_ASYNC)).raise_for_status()
    return await ended(client, id)


def artifacts(response: Mapping[str, Any]) -> dict[str, str]:
    return {artifact["name"]: artifact["content"] for artifact in response["artifact"]}


async def solve_three_instances(client: httpx.AsyncClient, model: ScriptedModel, agent: str) -> None:
    responses = await asyncio.gather(*(rollout(client, model, agent, seed) for seed in range(3)))
    for seed, response in enumerate(responses):
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


def left_running() -> list[str]:
    """Command lines of processes that come from these checks' agents: what those start has the mark as well."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if MARK in process.environ().values():
                found.append(" ".join(process.cmdline()))
    return found
