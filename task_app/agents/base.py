"""What an agent is to the task app: somebody who edits one file in a workspace."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydantic import SecretStr

from task_app.agents.overrides import Overrides
from task_app.benchmarks.base import Reference, Task
from task_app.contracts import PolicyConfig
from task_app.grade import Failure
from task_app.isolation import Isolation, Level


@dataclass(frozen=True)
class AgentContext:
    """What an agent is given beside its task."""

    correlation_id: str
    home: Path
    """An empty folder of this rollout's own, for the agent's config and session files. Removed afterwards."""
    environment: Mapping[str, SecretStr] = field(default_factory=dict)
    """Provider keys and other settings meant for agents."""
    reference: Reference | None = None
    """The reference solution; None for every agent that does not declare `uses_reference`."""
    isolation: Isolation = field(default_factory=lambda: Isolation(Level.PROCESS))
    """How the agent's processes are to be confined."""
    internet: bool = False
    """Whether the agent may reach the internet. Without that it reaches its model alone, if `isolation` can do
    so: below level `namespace` nothing keeps it from the network."""
    overrides: Overrides = field(default_factory=Overrides)
    """What the request wants to find in the agent's surroundings."""


@dataclass(frozen=True)
class AgentOutcome:
    """What an agent's work came to. What it wrote is in the workspace, and is graded whatever stands here."""

    log: str = ""
    tokens: int | None = None
    cost_usd: float | None = None
    turns: int | None = None
    failure: Failure | None = None
    """Why the agent did not end well by its own doing, e.g. its time was up."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Further artifacts by name, e.g. `trajectory.json`: free of secrets, and of bounded size."""


class Agent(Protocol):
    """One way of solving tasks."""

    name: str
    description: str
    uses_reference: bool

    async def run(self, task: Task, policy: PolicyConfig, context: AgentContext) -> AgentOutcome:
        """Work on the task for at most `policy.timeout` seconds, and leave no process behind, also when cancelled.

        Raises:
            InfrastructureFailure: the agent could not be run: its binary is missing, the provider refused the key.
        """
        ...
