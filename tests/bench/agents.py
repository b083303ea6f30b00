"""The real agents with a scripted model: what a rollout costs beyond the agent's own time, and what an agent weighs.

Needs the programs: `make agents`.
"""

import asyncio
import json
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx
import psutil
from pydantic import SecretStr
from rich.table import Table

from task_app.agents import AGENTS
from task_app.agents.cli_agent import CliAgent
from task_app.users import AGENT_UIDS
from tests.agents import programs
from tests.agents.real.sample import SAMPLE, instances, solution
from tests.agents.scenarios import KEY, MODEL
from tests.scripted_model import ScriptedModel, serving
from tests.task_app.serving import RESPOND_ASYNC, ended, rollout, settings
from tests.task_app.serving import serving as serving_task_app

ROUNDS = 5
SAMPLED_EVERY = 0.05
"""Seconds."""


@dataclass(frozen=True)
class _Rollout:
    wall: float
    """Seconds from request to response."""
    agent: float
    """Seconds that the agent's program ran."""
    grading: float
    """Seconds of compiling and testing what it wrote."""


async def measure() -> Table:
    """Medians of rollouts that solve an instance of the bundled benchmark in four turns, with warm slots."""
    columns = ("agent", "rollout", "agent's own", "overhead", "of that grading", "memory")
    table = Table(*columns, title=f"Agents, {ROUNDS} rollouts each")
    given = {name: SecretStr(value) for name, value in {"INFERENCE_API_KEY": KEY, **programs.environment()}.items()}
    with tempfile.TemporaryDirectory() as work:
        task_app = settings(Path(work) / "work", SAMPLE, agent_environment=given)
        async with serving() as model, serving_task_app(task_app) as client:
            # the slots are warm once a rollout has ended
            (await client.post("/rollout", json=rollout("warm-up", "gold"))).raise_for_status()
            for agent in (agent.name for agent in AGENTS.values() if isinstance(agent, CliAgent)):
                rollouts = [await _rollout(client, model, agent, number) for number in range(ROUNDS)]
                # in a rollout of its own, since looking costs time
                async with _weighed() as weighed:
                    await _rollout(client, model, agent, ROUNDS)
                _add(table, agent, rollouts, weighed.peak)
    return table


def _add(table: Table, agent: str, rollouts: list[_Rollout], memory: int) -> None:
    overhead = median(rollout.wall - rollout.agent for rollout in rollouts)
    table.add_row(
        agent,
        f"{median(rollout.wall for rollout in rollouts):.2f} s",
        f"{median(rollout.agent for rollout in rollouts):.2f} s",
        f"{overhead:.2f} s",
        f"{median(rollout.grading for rollout in rollouts):.2f} s",
        f"{memory / 2**20:.0f} MiB",
    )


async def _rollout(client: httpx.AsyncClient, model: ScriptedModel, agent: str, number: int) -> _Rollout:
    id = f"{agent}-{number}"
    model.add(id, solution(instances()[0], marker=id))
    policy = {"agent": agent, "model": MODEL, "inference_url": f"{model.base_url}/s", "timeout": 120}
    body = {"trace_correlation_id": id, "env": {"seed": 0}, "policy": {"config": policy}}
    started = time.perf_counter()
    (await client.post("/rollout", json=body, headers=RESPOND_ASYNC)).raise_for_status()
    response = await ended(client, id)
    wall = time.perf_counter() - started
    if response["reward_info"]["outcome_reward"] != 1.0:
        raise RuntimeError(f"{id} did not solve its instance: {response['status_detail']}")
    files: Mapping[str, str] = {artifact["name"]: artifact["content"] for artifact in response["artifact"]}
    phases = response["reward_info"]["details"]["phases"]
    return _Rollout(wall, json.loads(files["trajectory.json"])["seconds"], phases["compile"] + phases["tests"])


@dataclass
class _Peak:
    peak: int = 0
    """Bytes, of the processes' proportional set size."""


@asynccontextmanager
async def _weighed() -> AsyncIterator[_Peak]:
    """Looks at the processes of the agents' users; without root there are none."""
    weighed = _Peak()

    async def watch() -> None:
        while True:
            weighed.peak = max(weighed.peak, await asyncio.to_thread(_memory))
            await asyncio.sleep(SAMPLED_EVERY)

    watching = asyncio.create_task(watch())
    try:
        yield weighed
    finally:
        watching.cancel()


def _memory() -> int:
    total = 0
    for process in psutil.process_iter():
        try:
            if process.uids().real in AGENT_UIDS:
                total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total
