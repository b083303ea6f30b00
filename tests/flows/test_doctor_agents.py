from pathlib import Path

import pytest
from pydantic import SecretStr

from core.settings import Settings
from flows.doctor import Check
from flows.doctor_agents import agent_checks


@pytest.fixture(autouse=True)
def nothing_on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))


def checks(**settings: object) -> dict[str, Check]:
    return {check.name: check for check in agent_checks(Settings.model_validate(settings))}


def program(path: Path, *lines: str) -> str:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return str(path)


def test_a_missing_program_is_told_with_how_to_get_it() -> None:
    claude = checks()["claude"]
    assert (claude.status, claude.found) == ("optional", "not on PATH")
    assert claude.fix.startswith("npm install --global @anthropic-ai/claude-code@")
    assert claude.fix.endswith("or set CLAUDE_BIN")


def test_its_version_is_shown_beside_the_one_it_was_tested_with(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "codex", "[ $1 = --version ] && echo codex-cli 0.1.2")
    codex = checks()["codex"]
    assert codex.status == "ok"
    assert codex.found.startswith("codex-cli 0.1.2 (tested with ")


def test_a_named_program_goes_before_that_on_path(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "codex", "echo on path")
    assert "named" in checks(codex_bin=program(tmp_path / "other", "echo named"))["codex"].found


def test_a_name_that_is_no_program_is_told() -> None:
    assert checks(codex_bin="/nowhere/codex")["codex"].found == "CODEX_BIN names /nowhere/codex, which is no program"


def test_a_tool_that_an_agent_lacks_is_missing(tmp_path: Path) -> None:
    named = program(tmp_path / "opencode", "echo 1.0")
    missing = checks(opencode_bin=named)["rg"]
    assert (missing.status, missing.fix) == ("missing", "apt-get install ripgrep")
    program(tmp_path / "bin" / "rg")
    assert checks(opencode_bin=named)["rg"].status == "ok"


def test_keys_are_told_apart_but_not_shown() -> None:
    found = checks(openai_api_key=SecretStr("sk-1"))
    assert (found["OPENAI_API_KEY"].found, found["ANTHROPIC_API_KEY"].found) == ("set", "not set")
