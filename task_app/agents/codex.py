"""OpenAI's codex: Responses API, JSON lines. https://developers.openai.com/codex"""

import json
import re
from collections.abc import Mapping
from typing import Any

from task_app.agents.cli import Launch, Setup
from task_app.agents.inference import OPENAI, Provider
from task_app.agents.programs import Program, Tool
from task_app.agents.trajectory import Journal, Problem, ToolCall, Turn, Usage

_KEY = "CODEX_PROVIDER_KEY"
_STATUS = re.compile(r"status:? (\d{3})\b")
_URL = re.compile(r", url: \S+?(?=\)|$)")
"""The gateway's, which is gone when somebody reads this."""
_QUOTA = re.compile(r"quota exceeded", re.IGNORECASE)


class Codex:
    name = "codex"
    description = "OpenAI's codex"
    program = Program("codex", "CODEX_BIN", "@openai/codex", "0.169.0")
    tools: tuple[Tool, ...] = ()
    skills = ".codex/skills"
    reads_agents_md = True

    def provider(self, model: str | None) -> Provider:
        return OPENAI

    def launch(self, setup: Setup) -> Launch:
        return Launch(
            arguments=(
                "exec",
                "--json",
                # it is confined by the jail; its own sandbox can't be set up in there
                "--dangerously-bypass-approvals-and-sandbox",
                "--skip-git-repo-check",
                *("-C", str(setup.workspace)),
                "-",
            ),
            environment={
                "CODEX_HOME": str(setup.home / ".codex"),
                _KEY: setup.endpoint.key.get_secret_value(),
            },
            files={".codex/config.toml": _config(setup)},
        )

    def read(self, event: Mapping[str, Any], at: float, journal: Journal) -> None:
        match event.get("type"):
            case "item.started" | "item.updated" | "item.completed":
                _read_item(event["item"], at, journal, done=event["type"] == "item.completed")
            case "error":
                journal.retrying = _problem(event["message"])
            case "turn.failed":
                journal.problem = _problem(event["error"]["message"])
            case "turn.completed":
                journal.finished = True
                journal.usage = _usage(event["usage"])


def _config(setup: Setup) -> str:
    """config.toml. Strings are written as JSON, which TOML reads alike."""
    model = f"model = {json.dumps(setup.model)}\n" if setup.model else ""
    developer = f"developer_instructions = {json.dumps(setup.system_prompt)}\n" if setup.system_prompt else ""
    return f"""{model}{developer}model_provider = "bench"
check_for_update_on_startup = false
web_search = "disabled"
# a login shell would reset PATH, and cargo with it
allow_login_shell = false
shell_environment_policy = {{ exclude = ["{_KEY}"] }}

[analytics]
enabled = false

[features]
# fetches from the network at start
plugins = false
# else a dead provider is asked for ever
unbounded_connection_retries = false

[model_providers.bench]
name = "bench"
base_url = {json.dumps(setup.endpoint.url)}
env_key = "{_KEY}"
wire_api = "responses"
request_max_retries = 2
stream_max_retries = 3
stream_idle_timeout_ms = {int(setup.patience * 1000)}
"""


def _read_item(item: Mapping[str, Any], at: float, journal: Journal, done: bool) -> None:
    kind = item["type"]
    if kind == "error":  # a warning: what it gives up for comes as turn.failed
        return
    if kind in {"agent_message", "reasoning"}:
        if done:
            turn = _turn(journal, at)
            name = "text" if kind == "agent_message" else "reasoning"
            setattr(turn, name, "\n\n".join(filter(None, (getattr(turn, name), item["text"]))))
        return
    call = journal.call(item["id"])
    if call is None:
        call = ToolCall(id=item["id"], name=kind, arguments=_arguments(item), started=at)
        _turn(journal, at).tool_calls.append(call)
    if done:
        call.arguments, call.ended = _arguments(item), at
        call.result = item.get("aggregated_output") or _result(item)
        call.failed = item.get("status") == "failed"


_OUTCOME = {"id", "type", "status", "exit_code", "aggregated_output", "result", "error"}


def _arguments(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name not in _OUTCOME}


def _result(item: Mapping[str, Any]) -> str:
    outcome = item.get("error") or item.get("result") or ""
    return outcome if isinstance(outcome, str) else json.dumps(outcome)


def _turn(journal: Journal, at: float) -> Turn:
    """The turn that something belongs to. codex does not tell where one ends: it is over once its tools are."""
    last = journal.turns[-1] if journal.turns else None
    journal.retrying = None
    if last is None or (last.tool_calls and all(call.ended is not None for call in last.tool_calls)):
        return journal.turn(at)
    return last


def _usage(usage: Mapping[str, int]) -> Usage:
    return Usage(
        input_tokens=usage["input_tokens"],
        cached_input_tokens=usage["cached_input_tokens"],
        output_tokens=usage["output_tokens"],
        reasoning_tokens=usage.get("reasoning_output_tokens", 0),
    )


def _problem(message: str) -> Problem:
    message = _URL.sub("", message)
    status = _STATUS.search(message)
    if status is None and _QUOTA.search(message):
        return Problem(message=message, status=429, code="insufficient_quota")
    return Problem(message=message, status=int(status[1]) if status else None)
