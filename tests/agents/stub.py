"""An agent whose program is a shell script that a test writes: all that it prints as `{"turn": TEXT}` is a turn."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from task_app.agents.cli import Launch, Setup
from task_app.agents.cli_agent import CliAgent
from task_app.agents.inference import OPENAI, Provider
from task_app.agents.programs import Program, Tool
from task_app.agents.trajectory import Journal, Usage

TURN = """echo '{"turn": "at work"}'"""
DONE = """echo '{"done": true}'"""


class Stub:
    name = "stub"
    description = "does what a script says"
    program = Program("stub", "STUB_BIN", "stub-of-an-agent", "1.0.0")
    tools: tuple[Tool, ...] = ()
    skills = ".stub/skills"
    reads_agents_md = False

    def provider(self, model: str | None) -> Provider:
        return OPENAI

    def launch(self, setup: Setup) -> Launch:
        return Launch(
            arguments=("run",),
            environment={"STUB_URL": setup.endpoint.url, "STUB_KEY": setup.endpoint.key.get_secret_value()},
            files={".stub/config": f"model = {setup.model}\n"},
        )

    def read(self, event: Mapping[str, Any], at: float, journal: Journal) -> None:
        if "turn" in event:
            journal.turn(at).text = event["turn"]
        if "done" in event:
            journal.finished, journal.usage = True, Usage(input_tokens=1, output_tokens=2)


def agent() -> CliAgent:
    return CliAgent(Stub())


def environment(folder: Path, *lines: str) -> dict[str, str]:
    """The setting that names a script of these lines."""
    script = folder / "stub"
    script.write_text("\n".join(("#!/bin/sh", *lines, "")))
    script.chmod(0o755)
    return {"STUB_BIN": str(script)}


def words(*command: object) -> str:
    return shlex.join(str(word) for word in command)
