import json
import os
from pathlib import Path

import pytest

from task_app.agents import AGENTS
from task_app.agents.cli_agent import CliAgent
from task_app.agents.programs import Program, Tool, find, find_tool, installed
from task_app.errors import InfrastructureFailure

PROGRAM = Program("some-agent", "SOME_BIN", "some-package", "1.2.3")


def executable(path: Path, first_line: str = "#!/bin/sh") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{first_line}\n")
    path.chmod(0o755)
    return path


def test_the_variable_goes_before_the_path(tmp_path: Path) -> None:
    on_path, named = executable(tmp_path / "bin" / "some-agent"), executable(tmp_path / "else" / "mine")
    environment = {"PATH": str(on_path.parent)}
    assert find(PROGRAM, None, environment).path == on_path
    assert find(PROGRAM, str(named), environment).path == named


@pytest.mark.parametrize(
    ("named", "says"), [(None, "it is not on PATH"), ("/not/there", "SOME_BIN names /not/there, which is no program")]
)
def test_a_missing_one_is_told_with_how_to_get_it(named: str | None, says: str) -> None:
    with pytest.raises(InfrastructureFailure, match=says) as caught:
        find(PROGRAM, named, {"PATH": "/nowhere"})
    assert "npm install --global some-package@1.2.3" in str(caught.value)


def test_a_jail_needs_all_packages_and_the_interpreter(tmp_path: Path) -> None:
    node = executable(tmp_path / "node" / "bin" / "node")
    script = executable(tmp_path / "x" / "node_modules" / "p" / "node_modules" / "q" / "cli.js", "#!/usr/bin/env node")
    (tmp_path / "bin").mkdir()
    link = tmp_path / "bin" / "cli"
    link.symlink_to(script)
    found = installed(link, {"PATH": str(node.parent)})
    assert (found.path, found.interpreter) == (script, node)
    assert found.needed == (tmp_path / "x" / "node_modules", node)


def test_nothing_of_the_system_is_needed() -> None:
    assert installed(Path("/bin/sh"), os.environ).needed == ()


def test_a_tool_may_come_with_the_package(tmp_path: Path) -> None:
    tool = executable(tmp_path / "node_modules" / "@vendor" / "tool-linux" / "bin" / "rg")
    agent = executable(tmp_path / "node_modules" / "agent" / "bin" / "agent")
    found = find_tool(Tool("rg", "@vendor/tool-*", "get rg"), beside=agent, environment={"PATH": "/nowhere"})
    assert found.path == tool
    with pytest.raises(InfrastructureFailure, match=r"not on PATH\. Install it with `get rg`"):
        find_tool(Tool("rg", "@other/*", "get rg"), beside=agent, environment={"PATH": "/nowhere"})


def test_what_the_checks_install_is_what_the_agents_are_written_for() -> None:
    pinned = json.loads(Path(__file__).with_name("npm").joinpath("package.json").read_text())["dependencies"]
    programs = [agent.cli.program for agent in AGENTS.values() if isinstance(agent, CliAgent)]
    assert {program.package: program.version for program in programs}.items() <= pinned.items()
