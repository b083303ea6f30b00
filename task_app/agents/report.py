"""What is reported of an agent's work."""

from dataclasses import replace

from task_app.agents.base import AgentContext, AgentOutcome
from task_app.agents.secrecy import redacted, secrets_of
from task_app.agents.trajectory import Trajectory
from task_app.agents.verdict import Ending, verdict
from task_app.benchmarks.base import Task
from task_app.contracts import PolicyConfig
from task_app.errors import InfrastructureFailure
from task_app.grade import Failure
from task_app.processes import Completed


def patience(timeout: float) -> float:
    """Seconds that a provider may be silent: so few that its silence is noticed before the agent's time is up."""
    return min(120.0, max(2.0, timeout / 8))


class Report:
    """Of one rollout."""

    def __init__(self, task: Task, policy: PolicyConfig, context: AgentContext, ending: Ending) -> None:
        self._task = task
        self._policy = policy
        self._secrets = [*secrets_of(context.environment), *context.overrides.secrets]
        # before anything of it is cut, which would leave halves of secrets
        self._ending = replace(ending, completed=self._clean_output(ending.completed))

    def outcome(self) -> AgentOutcome:
        """Raises InfrastructureFailure if the agent is not to blame for how it ended."""
        completed, journal = self._ending.completed, self._ending.journal
        try:
            failure = verdict(self._ending)
        except InfrastructureFailure as error:
            raise InfrastructureFailure(self._clean(str(error))) from None
        return AgentOutcome(
            log=completed.stdout + completed.stderr,
            tokens=journal.usage.total if journal.usage else None,
            cost_usd=journal.cost_usd,
            turns=len(journal.turns),
            failure=failure,
            files={"trajectory.json": self._clean(self._trajectory(failure).bounded_json())},
        )

    def _trajectory(self, failure: Failure | None) -> Trajectory:
        journal = self._ending.journal
        return Trajectory(
            agent=self._ending.agent,
            model=self._policy.model,
            prompt=self._task.prompt,
            turns=[turn.with_texts(self._clean) for turn in journal.turns],
            usage=journal.usage,
            cost_usd=journal.cost_usd,
            seconds=self._ending.completed.duration,
            ending=failure.message if failure else "The agent said that it was done.",
        )

    def _clean_output(self, completed: Completed) -> Completed:
        return replace(completed, stdout=self._clean(completed.stdout), stderr=self._clean(completed.stderr))

    def _clean(self, text: str) -> str:
        return redacted(text, self._secrets)
