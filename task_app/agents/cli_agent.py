"""Runs an agent's command line to its end, and reads from its output what it did."""

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import Any

from task_app.agents import gateway, programs
from task_app.agents.base import AgentContext, AgentOutcome
from task_app.agents.cli import Cli, Setup
from task_app.agents.inference import Endpoint, endpoint
from task_app.agents.preflight import run_scripts
from task_app.agents.programs import Installed
from task_app.agents.report import Report, patience
from task_app.agents.trajectory import Journal
from task_app.agents.verdict import Ending
from task_app.agents.workplace import Workplace
from task_app.benchmarks.base import Task
from task_app.contracts import PolicyConfig

logger = logging.getLogger(__name__)

LINE_LIMIT = 8 << 20
"""Bytes of one event; a longer one is passed over."""


class CliAgent:
    """An agent that is somebody's program."""

    uses_reference = False

    def __init__(self, cli: Cli) -> None:
        self.cli = cli
        self.name = cli.name
        self.description = cli.description

    async def run(self, task: Task, policy: PolicyConfig, context: AgentContext) -> AgentOutcome:
        """As of `Agent.run`."""
        ending = await self.work(task, policy, context)
        return await asyncio.to_thread(Report(task, policy, context, ending).outcome)

    async def work(self, task: Task, policy: PolicyConfig, context: AgentContext) -> Ending:
        """Let the program work to its end. Raises InfrastructureFailure if it can't be started."""
        provider = self.cli.provider(policy.model)
        target = endpoint(provider, policy.inference_url, context.correlation_id, context.environment)
        program, *tools = self._programs(context)
        place = await Workplace.open(task, context, [program, *tools])
        journal = Journal()
        await asyncio.to_thread(context.overrides.write_files, task)
        way_in = gateway.opened(target, patience(policy.timeout), place.door(), policy.max_turns, context.internet)
        async with way_in as way:
            launch = self.cli.launch(self._setup(place, policy, context, way.endpoint))
            skills = {f"{self.cli.skills}/{path}": text for path, text in context.overrides.skills.items()}
            await asyncio.to_thread(place.furnish, {**skills, **launch.files})
            wanted = context.overrides.environment(taken={**place.jail.environment, **launch.environment})
            await run_scripts(context.overrides, place, wanted)
            started = time.monotonic()
            events = Events(lambda event: self.cli.read(event, time.monotonic() - started, journal))
            completed = await place.run(
                [*place.command(program), *launch.arguments],
                timeout=policy.timeout,
                environment={**wanted, **launch.environment},
                stdin=task.prompt,
                on_output=events.take,
                doors=[way.door],
            )
        return Ending(self.name, completed, journal, target, way.trouble, way.refused_turn)

    def _programs(self, context: AgentContext) -> list[Installed]:
        """The agent's own, then its tools. Raises InfrastructureFailure if one is missing."""
        named = context.environment.get(self.cli.program.variable)
        program = programs.find(self.cli.program, named.get_secret_value() if named else None)
        return [program, *(programs.find_tool(tool, beside=program.path) for tool in self.cli.tools)]

    def _setup(self, place: Workplace, policy: PolicyConfig, context: AgentContext, target: Endpoint) -> Setup:
        return Setup(
            model=policy.model,
            endpoint=target,
            home=place.inside(context.home),
            workspace=place.inside(place.jail.workspace),
            # longer than the gateway's, which is to notice first
            patience=2 * patience(policy.timeout) + 5,
            system_prompt=policy.system_prompt or "",
            instructions="" if self.cli.reads_agents_md else context.overrides.instructions,
        )


class Events:
    """Cuts the output on stdout into lines, and hands on those that are JSON objects."""

    def __init__(self, handle: Callable[[dict[str, Any]], None]) -> None:
        self._handle = handle
        self._complained = False
        self._begun = bytearray()

    def take(self, stream: str, chunk: bytes) -> None:
        if stream != "stdout":
            return
        if b"\n" not in chunk:
            self._begun += chunk[: LINE_LIMIT + 1 - len(self._begun)]
            return
        ended, _, begun = (bytes(self._begun) + chunk).rpartition(b"\n")
        self._begun = bytearray(begun)
        if b"{" not in ended:  # no event: a flood must not take time
            return
        for line in ended.split(b"\n"):
            if len(line) <= LINE_LIMIT and line.lstrip().startswith(b"{"):
                self._read(line)

    def _read(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except ValueError:  # a tool's output that looks like one of ours
            return
        try:
            self._handle(event)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            # Another version of the program may say things in another way, which must not end its work.
            if not self._complained:
                logger.warning(
                    "An event of an agent was not understood (%r): %.500s", error, line.decode(errors="replace")
                )
            self._complained = True
