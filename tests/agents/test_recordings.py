"""The readers of the agents' output, with what the real programs printed: `python -m tests.agents.record` made it."""

import json
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from task_app.agents import AGENTS
from task_app.agents.cli_agent import CliAgent, Events
from task_app.agents.inference import Endpoint
from task_app.agents.trajectory import Journal, Problem, Usage
from task_app.agents.verdict import Ending, verdict
from task_app.errors import InfrastructureFailure
from task_app.grade import FailureKind
from task_app.processes import Completed
from tests.agents.record import RECORDED
from tests.agents.scenarios import SCENARIOS, scenarios

NAMES = [name for name, agent in AGENTS.items() if isinstance(agent, CliAgent)]
NO_SCORE = {
    "key-refused": "key was refused: check THE_KEY",
    "forbidden": "key was refused: check THE_KEY",
    "quota": "quota is used up",
    "no-such-model": "Check the model's name",
    "server-error": "Check that the model at http://model is up",
    "cut": "Check that the model at http://model is up",
}


@dataclass(frozen=True)
class Recording:
    version: str
    ending: Ending

    @property
    def journal(self) -> Journal:
        return self.ending.journal


def replay(agent: str, scenario: str) -> Recording:
    """What the agent's reader makes of the output, an event a second."""
    told = json.loads((RECORDED / agent / f"{scenario}.json").read_text())
    journal, seconds = Journal(), iter(range(len(told["stdout"]) + 1))
    cli = AGENTS[agent]
    assert isinstance(cli, CliAgent)
    events = Events(lambda event: cli.cli.read(event, float(next(seconds)), journal))
    for line in told["stdout"]:
        events.take("stdout", f"{line}\n".encode())
    completed = Completed(
        exit_code=told["exit_code"],
        signal=None,
        stdout="\n".join(told["stdout"]),
        stderr=told["stderr"],
        output_cut=False,
        timed_out=told["timed_out"],
        output_exceeded=False,
        duration=10.0,
    )
    endpoint = Endpoint("http://model", SecretStr("key"), "THE_KEY", proxied=True)
    trouble = Problem.model_validate(told["trouble"]) if told["trouble"] else None
    return Recording(told["version"], Ending(agent, completed, journal, endpoint, trouble))


@pytest.mark.parametrize("agent", NAMES)
def test_the_recordings_are_of_the_pinned_version(agent: str) -> None:
    cli = AGENTS[agent]
    assert isinstance(cli, CliAgent)
    assert {replay(agent, scenario).version for scenario in scenarios(agent)} == {cli.cli.program.version}


@pytest.mark.parametrize("agent", NAMES)
@pytest.mark.parametrize("scenario", ["done", "retried"])
def test_a_rollout_that_went_well(agent: str, scenario: str) -> None:
    recording = replay(agent, scenario)
    assert verdict(recording.ending) is None
    write, cat, done = recording.journal.turns
    assert (write.text, cat.text, done.text) == ("I write the file.", "", "Done.")
    (writing,), (shell,) = write.tool_calls, cat.tool_calls
    assert "hello.txt" in json.dumps(writing.arguments)
    assert not writing.failed
    assert "cat hello.txt; exit 3" in shell.arguments["command"]
    assert "Hello, world!" in (shell.result or "")
    assert shell.failed
    assert shell.ended is not None


@pytest.mark.parametrize("agent", NAMES)
def test_usage_is_read(agent: str) -> None:
    one = SCENARIOS["done"].usage
    assert replay(agent, "done").journal.usage == Usage(
        input_tokens=3 * one.input, cached_input_tokens=3 * one.cached, output_tokens=3 * one.output
    )


@pytest.mark.parametrize("agent", NAMES)
def test_a_price_that_nobody_knows_is_not_made_up(agent: str) -> None:
    assert replay(agent, "done").journal.cost_usd is None


@pytest.mark.parametrize("agent", NAMES)
@pytest.mark.parametrize("scenario", NO_SCORE)
def test_a_failing_model_is_no_score(agent: str, scenario: str) -> None:
    with pytest.raises(InfrastructureFailure, match=NO_SCORE[scenario]):
        verdict(replay(agent, scenario).ending)


@pytest.mark.parametrize("agent", [name for name in NAMES if "too-long" in scenarios(name)])
def test_a_context_filled_is_the_agents_own_doing(agent: str) -> None:
    failure = verdict(replay(agent, "too-long").ending)
    assert failure is not None
    assert failure.kind is FailureKind.AGENT_FAILED
    assert "context" in failure.message
