"""One rollout, from the request to the scored response."""

import asyncio
import contextlib
import logging
import shutil
import tempfile
import time
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from task_app.agents import Agent, AgentContext, AgentOutcome
from task_app.agents.overrides import Overrides
from task_app.agents.secrecy import redacted
from task_app.artifacts import artifacts
from task_app.benchmarks import Benchmark, Instance, Task, Work
from task_app.collect import UnusableSource
from task_app.contracts import (
    FailureDetails,
    RewardInfo,
    RolloutDetails,
    RolloutRequest,
    RolloutResponse,
    RolloutStatus,
)
from task_app.disk import DiskExceeded, bounded
from task_app.errors import InfrastructureFailure, InvalidRequest
from task_app.grade import Failure, FailureKind, Grade
from task_app.isolation import Isolation, Level

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Assignment:
    """A request, understood: which agent works on which instance."""

    request: RolloutRequest
    benchmark: str
    instance: Instance
    seed: int
    """Index of the instance within the split."""
    attempt: int
    agent: Agent


class Performer:
    """Performs rollouts on one benchmark. They may run side by side: each has a folder of its own."""

    def __init__(
        self,
        benchmark: Benchmark,
        agents: Mapping[str, Agent],
        folder: Path,
        agent_environment: Mapping[str, SecretStr],
    ) -> None:
        self._benchmark = benchmark
        self._agents = agents
        self._folder = folder
        self._agent_environment = agent_environment
        self.isolation = Isolation(Level.PROCESS)
        """How the agents' processes are confined; set to the best that this machine allows once that is known."""

    def assign(self, request: RolloutRequest) -> Assignment:
        """Pick instance and agent. The wire seed counts through the instances of the split, round and round.

        Raises:
            InvalidRequest: the request names a benchmark, split or agent that is not here.
        """
        wanted = request.env.config
        if wanted.benchmark not in (None, self._benchmark.name):
            raise InvalidRequest(f"No benchmark {wanted.benchmark!r} here. Benchmarks: {self._benchmark.name}.")
        instances = self._benchmark.instances(wanted.split)
        attempt, seed = divmod(request.env.seed, len(instances))
        agent = self._agents.get(request.policy.config.agent)
        if agent is None:
            raise InvalidRequest(f"No agent {request.policy.config.agent!r} here. Agents: {', '.join(self._agents)}.")
        regrades = request.submission is not None
        if agent.uses_reference and not regrades and self._benchmark.reference(instances[seed]) is None:
            raise InvalidRequest(f"Agent {agent.name} needs a reference solution, and {instances[seed].id} has none.")
        return Assignment(request, self._benchmark.name, instances[seed], seed, attempt, agent)

    async def perform(self, assignment: Assignment) -> RolloutResponse:
        """Let the agent work in a fresh workspace, then grade the one file that counts.

        Raises:
            InfrastructureFailure: there is no score, and the agent is not to blame.
        """
        phases: dict[str, float] = {}
        request = assignment.request
        overrides = Overrides([*request.policy.config.context_overrides, *(request.context_overrides or ())])
        with self._private_folder() as folder:
            with _timed(phases, "prepare"):
                task = await _prepared(asyncio.to_thread(self._prepare, assignment.instance, folder))
            with _timed(phases, "agent"):
                outcome = await self._work_on(assignment, task, folder, overrides)
            work, grade = await self._collect_and_grade(assignment.instance, task)
        kept = await asyncio.to_thread(artifacts, task, work.source, outcome, grade, overrides)
        details = _details(assignment, outcome, grade, {**phases, **grade.phases})
        if details.failure:
            details.failure.message = redacted(details.failure.message, overrides.secrets)
        return RolloutResponse(
            trace_correlation_id=assignment.request.trace_correlation_id,
            reward_info=RewardInfo(outcome_reward=grade.reward, details=details),
            artifact=kept,
            success_status="success",
            status_detail=details.failure.message if details.failure else None,
            inference_url=assignment.request.policy.config.inference_url,
            override_application_results=overrides.results or None,
        )

    def _prepare(self, instance: Instance, folder: Path) -> Task:
        workspace = folder / "workspace"
        workspace.mkdir()
        (folder / "home").mkdir(mode=0o700)
        task = self._benchmark.prepare(instance, workspace)
        # Where agents see real paths they have to pass through here, but not into each other's folders.
        workspace.chmod(0o700)
        folder.chmod(0o711)
        return task

    async def _work_on(self, assignment: Assignment, task: Task, folder: Path, overrides: Overrides) -> AgentOutcome:
        """Let the agent do it, or put in place what it has once left."""
        submission = assignment.request.submission
        if submission is None:
            return await self._run_agent(assignment, task, folder, overrides)
        if task.pristine is not None:
            raise InfrastructureFailure(f"{assignment.instance.id} counts every file, so one alone can't be graded.")
        await asyncio.to_thread(_put, submission, task.workspace / task.file)
        return AgentOutcome(log="No agent ran: this is what an earlier one has left, graded again.\n")

    async def _run_agent(self, assignment: Assignment, task: Task, folder: Path, overrides: Overrides) -> AgentOutcome:
        agent, policy = assignment.agent, assignment.request.policy.config
        context = AgentContext(
            correlation_id=assignment.request.trace_correlation_id,
            home=folder / "home",
            environment=self._agent_environment,
            reference=self._benchmark.reference(assignment.instance) if agent.uses_reference else None,
            isolation=self.isolation,
            internet=policy.internet and task.internet,
            overrides=overrides,
        )
        if task.timeout is not None:
            policy = policy.model_copy(update={"timeout": min(policy.timeout, task.timeout)})
        try:
            return await bounded(agent.run(task, policy, context), folder)
        except DiskExceeded as error:
            return AgentOutcome(failure=Failure(FailureKind.DISK_EXCEEDED, f"{agent.name} {error}"))

    async def _collect_and_grade(self, instance: Instance, task: Task) -> tuple[Work, Grade]:
        try:
            work = await asyncio.to_thread(self._benchmark.collect, task)
        except UnusableSource as error:
            failure = Failure(FailureKind.AGENT_FAILED, str(error))
            return Work(""), Grade(reward=0.0, tests_passed=0, tests_total=task.tests_total, failure=failure)
        return work, await self._benchmark.grade(instance, work)

    @contextlib.contextmanager
    def _private_folder(self) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(prefix="rollout-", dir=self._folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if folder.exists():
                logger.warning("%s could not be removed; it goes with the sandbox.", folder)


def unscored(assignment: Assignment, status: RolloutStatus, failure: FailureDetails) -> RolloutResponse:
    """The response of a rollout without a reward."""
    details = _base_details(assignment)
    details.failure = failure
    return RolloutResponse(
        trace_correlation_id=assignment.request.trace_correlation_id,
        reward_info=RewardInfo(outcome_reward=None, details=details),
        success_status=status,
        status_detail=failure.message,
        inference_url=assignment.request.policy.config.inference_url,
    )


def _details(
    assignment: Assignment, outcome: AgentOutcome, grade: Grade, phases: Mapping[str, float]
) -> RolloutDetails:
    details = _base_details(assignment)
    details.tests_passed, details.tests_total = grade.tests_passed, grade.tests_total
    # An agent that ran out of time explains a missing point better than the tests that failed for it.
    failure = (outcome.failure or grade.failure) if grade.reward < 1 else None
    details.failure = FailureDetails(kind=failure.kind, message=failure.message) if failure else None
    details.phases = dict(phases)
    details.tokens, details.cost_usd, details.turns = outcome.tokens, outcome.cost_usd, outcome.turns
    return details


def _base_details(assignment: Assignment) -> RolloutDetails:
    policy = assignment.request.policy.config
    return RolloutDetails(
        benchmark=assignment.benchmark,
        instance=assignment.instance.id,
        seed=assignment.seed,
        attempt=assignment.attempt,
        agent=policy.agent,
        model=policy.model,
    )


def _put(source: str, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source, newline="")


@contextlib.contextmanager
def _timed(phases: dict[str, float], name: str) -> Iterator[None]:
    start = time.monotonic()
    try:
        yield
    finally:
        phases[name] = time.monotonic() - start


async def _prepared(preparation: Awaitable[Task]) -> Task:
    """The task, once it is laid out. A thread can't be cancelled, so a cancellation waits until it has ended."""
    work = asyncio.ensure_future(preparation)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait({work})
        raise
