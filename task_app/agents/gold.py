"""The upper baseline: writes the reference solution. Anything below 1.0 means that the benchmark is broken."""

from task_app.agents.base import AgentContext, AgentOutcome
from task_app.benchmarks.base import Task
from task_app.contracts import PolicyConfig
from task_app.errors import InfrastructureFailure


class Gold:
    name = "gold"
    description = "writes the reference solution (expected reward: 1.0)"
    uses_reference = True

    async def run(self, task: Task, policy: PolicyConfig, context: AgentContext) -> AgentOutcome:
        if context.reference is None:
            raise InfrastructureFailure("Agent gold was given no reference solution.")
        await context.reference.apply(task)
        return AgentOutcome(log="Applied the reference solution.\n")
