"""The lower baseline: does nothing, so it earns what the stub earns."""

from task_app.agents.base import AgentContext, AgentOutcome
from task_app.benchmarks.base import Task
from task_app.contracts import PolicyConfig


class Noop:
    name = "noop"
    description = "does nothing (shows what the bare stub scores)"
    uses_reference = False

    async def run(self, task: Task, policy: PolicyConfig, context: AgentContext) -> AgentOutcome:
        return AgentOutcome(log="Did nothing.\n")
