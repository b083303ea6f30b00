"""The real agents asking a provider itself, by its name for a model or by the agent's own choice, and what it cost."""

from dataclasses import replace
from pathlib import Path

import pytest

from task_app.agents.claude_code import ClaudeCode
from task_app.agents.cli import Cli
from task_app.agents.cli_agent import CliAgent
from task_app.agents.codex import Codex
from task_app.agents.inference import Provider
from task_app.agents.opencode import OpenCode
from tests.agents.scenarios import KEY, SCENARIOS
from tests.agents.workshop import context, policy, task
from tests.scripted_model import ScriptedModel


def asking(cli: type[Cli], url: str) -> CliAgent:
    """The agent with its providers moved to the scripted model."""

    class Moved(cli):  # type: ignore[valid-type, misc]
        def provider(self, model: str | None) -> Provider:
            provider: Provider = super().provider(model)
            return replace(provider, url=url)

    return CliAgent(Moved())


@pytest.mark.parametrize(
    ("cli", "name", "asked", "priced"),
    [
        (OpenCode, "openai/gpt-5", ("responses", "gpt-5"), True),
        (OpenCode, "openai/not-known-yet", ("responses", "not-known-yet"), False),
        (OpenCode, "anthropic/claude-sonnet-4-5", ("messages", "claude-sonnet-4-5"), True),
        (OpenCode, "claude-not-known-yet", ("messages", "claude-not-known-yet"), False),
        (Codex, "gpt-5", ("responses", "gpt-5"), False),
        (Codex, None, ("responses", None), False),
        (ClaudeCode, "claude-sonnet-4-5", ("messages", "claude-sonnet-4-5"), True),
        (ClaudeCode, None, ("messages", None), True),
    ],
)
async def test_a_model_of_a_provider(
    tmp_path: Path,
    installed: dict[str, str],
    model: ScriptedModel,
    cli: type[Cli],
    name: str | None,
    asked: tuple[str, str | None],
    priced: bool,
) -> None:
    """`asked`: the route and the model's name there; None where the agent chooses it."""
    url = model.add("one", SCENARIOS["done"])
    given = await context(tmp_path, "one", {**installed, "OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY})
    agent = asking(cli, url)
    outcome = await agent.run(task(tmp_path), policy(agent.name, None).model_copy(update={"model": name}), given)
    assert (outcome.failure, outcome.turns, outcome.tokens) == (None, 3, 3150)
    assert (outcome.cost_usd is not None) is priced
    route, as_asked = asked
    assert {one.path for one in model.asked["one"]} == {f"/s/one/v1/{route}"}
    assert {one.key for one in model.asked["one"]} == {KEY}
    (as_sent,) = {one.body["model"] for one in model.asked["one"]}
    assert as_asked in (None, as_sent)
