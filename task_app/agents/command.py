"""Any program of the user's: in the workspace, with the prompt on stdin. To try an agent without writing Python."""

import asyncio
import contextlib
import shlex
import shutil
from pathlib import Path

from task_app.agents.base import AgentContext, AgentOutcome
from task_app.agents.gateway import Gateway, opened
from task_app.agents.inference import ANTHROPIC, OPENAI, Endpoint, Provider, endpoint
from task_app.agents.preflight import run_scripts
from task_app.agents.programs import Installed, installed
from task_app.agents.report import Report, patience
from task_app.agents.trajectory import Journal
from task_app.agents.verdict import Ending
from task_app.agents.workplace import Workplace
from task_app.benchmarks.base import Task
from task_app.contracts import PolicyConfig
from task_app.errors import InfrastructureFailure
from task_app.processes import Completed

_NOT_FOUND = {126, 127}
"""What a shell exits with for a command that is not there, or can't be executed."""


class Command:
    """Runs `policy.agent_command` in a shell.

    It finds the model by the variables that the providers' own clients read, OPENAI_BASE_URL and OPENAI_API_KEY or
    ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY, and the model's name in MODEL. A system prompt stands before the prompt. A
    file or folder that the command names by its absolute path is there for it; of this machine's other files it has
    those in the system's directories only.
    """

    name = "command"
    description = "runs a program of yours: --agent-command 'my-agent --flag'"
    uses_reference = False

    async def run(self, task: Task, policy: PolicyConfig, context: AgentContext) -> AgentOutcome:
        """As of `Agent.run`. Nothing is known of the program's tokens and turns."""
        command = policy.agent_command or ""
        place = await Workplace.open(task, context, named_in(command))
        async with contextlib.AsyncExitStack() as stack:
            ways = []
            for number, (provider, target) in enumerate(_targets(policy, context)):
                door = place.door(number)
                way = opened(target, patience(policy.timeout), door, policy.max_turns, context.internet)
                ways.append((provider, await stack.enter_async_context(way)))
            await asyncio.to_thread(context.overrides.write_files, task)
            await asyncio.to_thread(place.furnish, {})
            variables = {"MODEL": policy.model or "", **_variables(ways)}
            wanted = context.overrides.environment(taken={**place.jail.environment, **variables})
            await run_scripts(context.overrides, place, wanted)
            completed = await place.run(
                ["/bin/sh", "-c", _as_in(place, command)],
                timeout=policy.timeout,
                environment={**wanted, **variables},
                stdin="\n\n".join(filter(None, (policy.system_prompt, task.prompt))),
                doors=[way.door for _, way in ways],
            )
        trouble = next((way.trouble for _, way in ways if way.trouble), None)
        where = ways[0][1].target if ways else None
        refused = any(way.refused_turn for _, way in ways)
        ending = Ending(self.name, completed, _journal(completed), where, trouble, refused)
        outcome = await asyncio.to_thread(Report(task, policy, context, ending).outcome)
        return AgentOutcome(log=outcome.log, failure=outcome.failure)


def named_in(command: str) -> list[Installed]:
    """The programs and folders that a command names.

    Raises:
        InfrastructureFailure: there is no command, or a shell would not understand it.
    """
    try:
        words = _words(command)
    except ValueError as error:
        raise InfrastructureFailure(f"The agent command can't be read ({error}): {command}") from error
    if not words:
        raise InfrastructureFailure("Agent command needs to know what to run: --agent-command 'my-agent --flag'.")
    paths = [Path(word) for word in words if word.startswith("/") and Path(word).exists()]
    if "/" not in words[0] and (found := shutil.which(words[0])):
        paths.append(Path(found))
    return [installed(path) for path in paths]


def _words(command: str) -> list[str]:
    """As a shell cuts a command; what ends or joins commands is a word of its own."""
    cutter = shlex.shlex(command, posix=True, punctuation_chars=True)
    cutter.whitespace_split = True
    cutter.commenters = ""
    return list(cutter)


def _as_in(place: Workplace, command: str) -> str:
    """The command with its absolute paths as they are called in there."""
    for word in _words(command):
        if word.startswith("/") and Path(word).exists():
            command = command.replace(word, str(place.inside(Path(word).resolve())))
    return command


def _targets(policy: PolicyConfig, context: AgentContext) -> list[tuple[Provider, Endpoint]]:
    """All providers there is a key for; a command may need none."""
    return [
        (provider, endpoint(provider, policy.inference_url, context.correlation_id, context.environment))
        for provider in (OPENAI, ANTHROPIC)
        if policy.inference_url is not None or provider.key in context.environment
    ]


def _variables(ways: list[tuple[Provider, Gateway]]) -> dict[str, str]:
    variables = {}
    for provider, way in ways:
        prefix, target = provider.name.upper(), way.endpoint
        variables[f"{prefix}_BASE_URL"] = target.root if provider is ANTHROPIC else target.url
        variables[f"{prefix}_API_KEY"] = target.key.get_secret_value()
    return variables


def _journal(completed: Completed) -> Journal:
    """As if all that it did were a single turn."""
    journal = Journal()
    if completed.exit_code not in _NOT_FOUND:
        journal.turn(0.0).text = completed.stdout
    journal.finished = completed.exit_code == 0
    return journal
