"""`engine-bench doctor`, for the agents: is each one's program there, in which version, and is there a key for it."""

import subprocess
from pathlib import Path

from core.settings import Settings
from flows.doctor import Check
from task_app.agents import AGENTS
from task_app.agents.cli_agent import CliAgent
from task_app.agents.inference import ANTHROPIC, OPENAI
from task_app.agents.programs import Tool, find, find_tool
from task_app.errors import InfrastructureFailure


def agent_checks(settings: Settings) -> list[Check]:
    """A check for each agent's program and further tools, and one for each provider's key."""
    agents = [agent for agent in AGENTS.values() if isinstance(agent, CliAgent)]
    programs = [check for agent in agents for check in _program(agent, settings)]
    keys = {OPENAI: settings.openai_api_key, ANTHROPIC: settings.anthropic_api_key}
    return [*programs, *(_key(provider.key, provider.name, key is not None) for provider, key in keys.items())]


def _program(agent: CliAgent, settings: Settings) -> list[Check]:
    program, purpose = agent.cli.program, f"agent {agent.name}"
    named = settings.agent_programs().get(program.variable)
    try:
        found = find(program, named)
    except InfrastructureFailure:
        found_there = f"{program.variable} names {named}, which is no program" if named else "not on PATH"
        fix = f"{program.install}, or set {program.variable}"
        return [Check(program.name, purpose, "optional", found_there, fix)]
    checks = [Check(program.name, purpose, "ok", f"{_version(str(found.path))} (tested with {program.version})")]
    return [*checks, *(_tool(tool, purpose, beside=found.path) for tool in agent.cli.tools)]


def _tool(tool: Tool, purpose: str, beside: Path) -> Check:
    try:
        found = find_tool(tool, beside)
    except InfrastructureFailure:
        return Check(tool.name, purpose, "missing", "not on PATH", tool.install)
    return Check(tool.name, purpose, "ok", str(found.path))


def _version(path: str) -> str:
    try:
        told = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path} fails: {type(error).__name__}"
    return (told.stdout.strip() or told.stderr.strip() or f"exit code {told.returncode}").splitlines()[0]


def _key(variable: str, provider: str, there: bool) -> Check:
    fix = "" if there else f"Set {variable}, or give an inference_url"
    return Check(variable, f"models of {provider}", "ok" if there else "optional", "set" if there else "not set", fix)
