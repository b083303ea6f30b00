"""`python -m tests.agents.record [AGENT...]`: records what the real programs print, for the tests of their readers.

It needs the programs (`make agents` installs them) and no network. What it writes is to be committed.
"""

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from task_app.agents import AGENTS
from task_app.agents.cli_agent import CliAgent
from tests.agents import programs
from tests.agents.scenarios import SCENARIOS, scenarios
from tests.agents.workshop import context, policy, task
from tests.scripted_model import ScriptedModel, serving

ENDLESS_LINES = 20

RECORDED = Path(__file__).with_name("recorded")


async def record(agent: CliAgent, scenario: str, model: ScriptedModel) -> None:
    id = f"{agent.name}-{scenario}"
    model.add(id, SCENARIOS[scenario])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        surroundings = await context(folder, id, programs.environment())
        # long enough for every retry, so that it is the program that gives up
        ending = await agent.work(task(folder), policy(agent.name, f"{model.base_url}/s", 120), surroundings)
    completed = ending.completed
    recording = {
        "program": agent.cli.program.package,
        "version": agent.cli.program.version,
        "exit_code": completed.exit_code,
        "timed_out": completed.timed_out,
        "trouble": ending.trouble.model_dump() if ending.trouble else None,
        # one that never ends says the same again and again
        "stdout": completed.stdout.splitlines()[: ENDLESS_LINES if completed.timed_out else None],
        "stderr": completed.stderr,
    }
    path = RECORDED / agent.name / f"{scenario}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(recording, indent=1, ensure_ascii=False) + "\n")
    print(f"{id}: exit code {completed.exit_code} after {completed.duration:.1f} s")


async def main(names: list[str]) -> None:
    agents = [agent for agent in AGENTS.values() if isinstance(agent, CliAgent) and agent.name in (names or AGENTS)]
    async with serving() as model:
        for agent in agents:
            for scenario in scenarios(agent.name):
                await record(agent, scenario, model)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
