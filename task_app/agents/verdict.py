"""Who is to blame for how an agent ended: itself, so its score stands, or the infrastructure, so it has none."""

import re
from dataclasses import dataclass

from task_app.agents.inference import Endpoint
from task_app.agents.trajectory import Journal, Problem
from task_app.errors import InfrastructureFailure
from task_app.grade import Failure, FailureKind
from task_app.processes import Completed

_TOO_LONG = re.compile(
    r"context_length_exceeded|prompt is too long|maximum context length|context window", re.IGNORECASE
)
_OUT_OF_MEMORY = re.compile(
    r"out of memory|cannot allocate memory|memory allocation of \d+ bytes failed", re.IGNORECASE
)
_QUOTA = re.compile(r"insufficient_quota|quota|billing|balance|credit", re.IGNORECASE)
_MISSING_MODEL = re.compile(r"model_not_found|model", re.IGNORECASE)


@dataclass(frozen=True)
class Ending:
    """How an agent ended."""

    agent: str
    completed: Completed
    journal: Journal
    endpoint: Endpoint | None
    """Of the model; None for an agent that has none."""
    trouble: Problem | None = None
    """What was wrong with the last answer of the model that it asked for, as the gateway saw it."""
    refused_turn: bool = False
    """Whether it wanted more turns than it was allowed."""


def verdict(ending: Ending) -> Failure | None:
    """The agent's own failure, None if it ended well.

    Raises:
        InfrastructureFailure: it could not do its work, for no fault of its own.
    """
    agent, completed, journal = ending.agent, ending.completed, ending.journal
    if ending.refused_turn:
        return Failure(FailureKind.TURN_LIMIT, f"{agent} wanted more turns than the limit allows")
    if completed.timed_out:
        return _timed_out(ending)
    if completed.output_exceeded:
        return Failure(FailureKind.OUTPUT_FLOOD, f"{agent} printed without end")
    if completed.signal == 9:
        raise InfrastructureFailure(f"{agent} was killed from outside, most likely for lack of memory.")
    if completed.exit_code == 0 and journal.finished and journal.turns:
        return None
    if problem := _problem(ending):
        return _gave_up(ending, problem)
    if completed.exit_code != 0:
        return _crashed(ending)
    raise InfrastructureFailure(f"{agent} ended as if it were done, but its model's last answer never came.")


def _problem(ending: Ending) -> Problem | None:
    """What the model's last answer failed for. The agent's word goes first: it has the provider's message."""
    return ending.journal.problem or ending.trouble or ending.journal.retrying


def _timed_out(ending: Ending) -> Failure:
    agent, seconds = ending.agent, f"{ending.completed.duration:.0f} s"
    if problem := _problem(ending):
        raise InfrastructureFailure(
            f"{agent} could not reach its model any more when its time was up after {seconds}: "
            f"{_reason(problem, ending.endpoint)}"
        )
    if not ending.journal.turns:
        raise InfrastructureFailure(
            f"{agent} had no answer from the model{_at(ending.endpoint)} when its time was up after {seconds}."
        )
    return Failure(FailureKind.AGENT_TIMEOUT, f"{agent} was not done after {seconds}")


def _gave_up(ending: Ending, problem: Problem) -> Failure:
    if problem.status is None and ending.trouble is not None:  # not every agent tells it
        problem = problem.model_copy(update={"status": ending.trouble.status})
    if _TOO_LONG.search(f"{problem.code} {problem.message}"):
        return Failure(
            FailureKind.AGENT_FAILED, f"{ending.agent} filled its model's context: {_short(problem.message)}"
        )
    raise InfrastructureFailure(f"{ending.agent} got no answer from its model: {_reason(problem, ending.endpoint)}")


def _crashed(ending: Ending) -> Failure:
    completed = ending.completed
    how = f"exit code {completed.exit_code}" if completed.signal is None else f"signal {completed.signal}"
    message = f"{ending.agent} ended with {how} before it was done: {_end(completed.stderr)}"
    if _OUT_OF_MEMORY.search(completed.stderr):
        raise InfrastructureFailure(f"{message} Lower the concurrency, or use a larger machine.")
    if not ending.journal.turns:
        raise InfrastructureFailure(f"{message} It never got to work, so check how it is installed.")
    return Failure(FailureKind.AGENT_FAILED, message)


def _at(endpoint: Endpoint | None) -> str:
    return f" at {endpoint.url}" if endpoint else ""


def _reason(problem: Problem, endpoint: Endpoint | None) -> str:
    said = f"{problem.code} {problem.message}"
    match problem.status:
        case 401 | 403:
            advice = f"The key was refused: check {endpoint.key_name if endpoint else 'it'}."
        case 402 | 429 if _QUOTA.search(said):
            advice = "The quota is used up: check the account's plan and billing."
        case 429:
            advice = "Too many requests: lower the concurrency, or try again later."
        case 400 | 404 if _MISSING_MODEL.search(said):
            advice = "Check the model's name, and that the key may use it."
        case 400 | 404 | 422:
            advice = "The request was refused: check that the model fits the agent."
        case _:
            advice = f"Check that the model{_at(endpoint)} is up."
    return f"{_short(problem.message)}. {advice}"


def _short(message: str) -> str:
    line = " ".join(message.split()).rstrip(".")
    return line if len(line) <= 300 else f"{line[:300]}..."


def _end(text: str) -> str:
    line = " ".join(text.split())
    return f"{line[-300:].rstrip('.')}." if line else "it printed nothing on stderr."
