"""What differs between the agents' command lines: all else is shared, see cli_agent.py."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from task_app.agents.inference import Endpoint, Provider
from task_app.agents.programs import Program, Tool
from task_app.agents.trajectory import Journal


@dataclass(frozen=True)
class Setup:
    """One rollout, as the agent's program is to be told of it. Paths are those that the program sees."""

    model: str | None
    endpoint: Endpoint
    home: Path
    workspace: Path
    patience: float
    """Seconds that the provider may be silent before it is asked again."""
    system_prompt: str = ""
    """To be added to the agent's own."""
    instructions: str = ""
    """What an AGENTS.md says."""


@dataclass(frozen=True)
class Launch:
    """How to start the program. The prompt comes on its stdin."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    """By path relative to HOME."""


class Cli(Protocol):
    """One agent's program. A new agent is one such class."""

    name: str
    description: str
    program: Program
    tools: tuple[Tool, ...]
    skills: str
    """The folder that it looks for skills in, relative to HOME."""
    reads_agents_md: bool
    """Whether it reads an AGENTS.md in the workspace by itself."""

    def provider(self, model: str | None) -> Provider:
        """Who serves the model. Raises InfrastructureFailure if that can't be told."""
        ...

    def launch(self, setup: Setup) -> Launch: ...

    def read(self, event: Mapping[str, Any], at: float, journal: Journal) -> None:
        """Enter an event of the program's output, printed `at` seconds after its start, into the journal."""
        ...
