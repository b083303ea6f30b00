"""Who can be evaluated. A new agent is one file here and one line in the table."""

from collections.abc import Mapping

from task_app.agents.base import Agent, AgentContext, AgentOutcome
from task_app.agents.claude_code import ClaudeCode
from task_app.agents.cli_agent import CliAgent
from task_app.agents.codex import Codex
from task_app.agents.command import Command
from task_app.agents.gold import Gold
from task_app.agents.noop import Noop
from task_app.agents.opencode import OpenCode

__all__ = ["AGENTS", "Agent", "AgentContext", "AgentOutcome"]

AGENTS: Mapping[str, Agent] = {
    agent.name: agent
    for agent in (
        Gold(),
        Noop(),
        CliAgent(OpenCode()),
        CliAgent(Codex()),
        CliAgent(ClaudeCode()),
        Command(),
    )
}
