from pathlib import Path

import pytest
from pydantic import SecretStr

from core.errors import ConfigurationError
from core.settings import Settings
from flows.agent_needs import agent_environment, agent_tools
from flows.parameters import Parameters

OPENCODE = Parameters(agent="opencode", model="openai/m")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """With a key for each provider, and opencode alone of all programs."""
    monkeypatch.setenv("PATH", str(tmp_path))
    program = tmp_path / "opencode"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return Settings(
        openai_api_key=SecretStr("openai's"), anthropic_api_key=SecretStr("anthropic's"), opencode_bin=str(program)
    )


def test_an_agent_is_given_the_one_key_that_it_needs(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "rg").symlink_to(tmp_path / "opencode")
    given = agent_environment(OPENCODE, settings)
    assert {name: value.get_secret_value() for name, value in given.items()} == {
        "OPENAI_API_KEY": "openai's",
        "OPENCODE_BIN": str(tmp_path / "opencode"),
    }


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        (OPENCODE, "Install it with `apt-get install ripgrep`"),
        (Parameters(agent="opencode"), "--model openai/<name>"),
        (Parameters(agent="codex"), "npm install --global @openai/codex@"),
        (Parameters(agent="command"), "needs --agent-command"),
    ],
)
def test_what_is_missing_is_told_before_there_is_a_sandbox(
    settings: Settings, parameters: Parameters, says: str
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        agent_environment(parameters, settings)
    assert says in str(raised.value)


def test_a_missing_key_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="Set ANTHROPIC_API_KEY, or give --inference-url"):
        agent_environment(Parameters(agent="claude_code"), Settings())


def test_a_sandbox_elsewhere_is_given_the_pinned_program(settings: Settings) -> None:
    elsewhere = OPENCODE.model_copy(update={"backend": "daytona"})
    assert agent_environment(elsewhere, settings).keys() == {"OPENAI_API_KEY"}
    program, tool = agent_tools(elsewhere)
    assert program.startswith("opencode=npm:opencode-ai@")
    assert tool == "rg"
