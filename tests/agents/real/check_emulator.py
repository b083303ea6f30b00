"""The real agents in a sandbox of the Daytona backend, as its install step gets them from npm; the API is emulated.

To be run where npm's registry can be reached, so not in the quarantine. In a sandbox of the emulator there is no DNS.
"""

import inspect
from collections.abc import AsyncIterator
from typing import get_args

import httpx
import pytest
import pytest_asyncio

from flows.agent_needs import agent_tools
from flows.parameters import AgentName, Parameters
from sandboxes.base import Sandbox
from sandboxes.daytona import DaytonaBackend
from tests.agents.real import rollouts, way_out
from tests.agents.real.rollouts import AGENTS, left_running, solve_three_instances
from tests.daytona_emulator import Emulator, emulator
from tests.daytona_emulator.toolbox.ports import EGRESS_PORT
from tests.sandboxes.daytona_harness import new_spec, sdk_for, settings_for, skip_without_commands
from tests.scripted_model import ScriptedModel, serving

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def model() -> AsyncIterator[ScriptedModel]:
    async with serving() as model:
        yield model


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def task_app(model: ScriptedModel) -> AsyncIterator[httpx.AsyncClient]:
    names = [name for name in get_args(AgentName) if name in AGENTS]
    tools = [tool for name in names for tool in agent_tools(Parameters(backend="daytona", agent=name))]
    async with emulator() as emu:
        skip_without_commands(emu)
        backend = DaytonaBackend(settings_for(emu))
        try:
            async with rollouts.task_app(backend, new_spec(), ("cargo", *tools), {}) as (client, sandbox):
                await _lead_out(emu, sandbox, httpx.URL(model.base_url).port)
                yield client
        finally:
            await backend.aclose()


async def _lead_out(emu: Emulator, sandbox: Sandbox, port: int | None) -> None:
    """Let the sandbox reach a port of this machine's loopback under the same address."""
    command = f"nohup python3 /tmp/way_out.py {EGRESS_PORT} {port} > /tmp/way_out.log 2>&1 &"
    async with sdk_for(emu) as sdk:
        box = await sdk.get(sandbox.id)
        await box.fs.upload_file(inspect.getsource(way_out).encode(), "/tmp/way_out.py")
        done = await box.process.exec(f"{command} until grep -q ready /tmp/way_out.log; do sleep 0.1; done")
    assert done.exit_code == 0, done.result


@pytest.mark.parametrize("agent", AGENTS)
async def test_an_agent_solves_three_instances(task_app: httpx.AsyncClient, model: ScriptedModel, agent: str) -> None:
    await solve_three_instances(task_app, model, agent)
    assert left_running() == []
