"""opencode: any API, JSON lines. https://opencode.ai/docs"""

import json
from collections.abc import Mapping
from typing import Any

from task_app.agents.cli import Launch, Setup
from task_app.agents.inference import ANTHROPIC, OPENAI, Provider
from task_app.agents.programs import Program, Tool
from task_app.agents.trajectory import Journal, Problem, ToolCall, Turn, Usage
from task_app.errors import InfrastructureFailure

_PROVIDERS = {provider.name: provider for provider in (OPENAI, ANTHROPIC)}
_SETTINGS = ".config/opencode"
_INSTRUCTIONS = f"{_SETTINGS}/instructions.md"


class OpenCode:
    name = "opencode"
    description = "opencode; models are called openai/<name> or anthropic/<name>"
    program = Program("opencode", "OPENCODE_BIN", "opencode-ai", "1.18.33")
    # it would download one at the first search
    tools: tuple[Tool, ...] = (Tool("rg", "@vscode/ripgrep-*", "apt-get install ripgrep"),)
    skills = f"{_SETTINGS}/skills"
    reads_agents_md = False

    def provider(self, model: str | None) -> Provider:
        if model is None:
            raise InfrastructureFailure("Agent opencode needs a model: --model openai/<name> or anthropic/<name>.")
        prefix = model.partition("/")[0]
        return _PROVIDERS.get(prefix, ANTHROPIC if model.startswith("claude") else OPENAI)

    def launch(self, setup: Setup) -> Launch:
        provider, model = self.provider(setup.model), _short_name(setup.model or "")
        return Launch(
            arguments=(
                "run",
                *("--format", "json"),
                "--auto",
                # else it asks the model for one
                *("--title", "engine-bench"),
                *("-m", f"{_provider_id(setup, provider)}/{model}"),
            ),
            environment={
                "OPENCODE_CONFIG_CONTENT": json.dumps(_config(setup, provider, model)),
                "OPENCODE_DISABLE_MODELS_FETCH": "1",
                "OPENCODE_DISABLE_AUTOUPDATE": "1",
                "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
                # instruction files of the host's folders above the workspace
                "OPENCODE_DISABLE_PROJECT_CONFIG": "1",
                "OPENCODE_DISABLE_CLAUDE_CODE": "1",
            },
            files=_files(setup),
        )

    def read(self, event: Mapping[str, Any], at: float, journal: Journal) -> None:
        match event.get("type"):
            case "error":
                journal.problem = _problem(event["error"])
            case "step_start":
                journal.turn(at)
            case "text" | "reasoning" | "tool_use" | "step_finish":
                _read_part(event["part"], at, journal)


def _short_name(model: str) -> str:
    prefix, slash, rest = model.partition("/")
    return rest if slash and prefix in _PROVIDERS else model


def _provider_id(setup: Setup, provider: Provider) -> str:
    """opencode knows models and prices of the providers by their names. A proxy is a provider of its own."""
    return "proxy" if setup.endpoint.proxied else provider.name


def _config(setup: Setup, provider: Provider, model: str) -> dict[str, Any]:
    milliseconds = int(setup.patience * 1000)
    options = {
        "baseURL": setup.endpoint.url,
        "apiKey": setup.endpoint.key.get_secret_value(),
        "chunkTimeout": milliseconds,
        "headerTimeout": milliseconds,
    }
    own: dict[str, Any] = {"options": options, "models": {model: {"name": model}}}
    if setup.endpoint.proxied:
        package = "@ai-sdk/anthropic" if provider is ANTHROPIC else "@ai-sdk/openai-compatible"
        own |= {"npm": package, "name": "proxy"}
    return {
        "autoupdate": False,
        "share": "disabled",
        "permission": {"webfetch": "deny", "websearch": "deny", "external_directory": "allow"},
        "provider": {_provider_id(setup, provider): own},
        **({"instructions": [str(setup.home / _INSTRUCTIONS)]} if _instructions(setup) else {}),
    }


def _instructions(setup: Setup) -> str:
    return "\n\n".join(filter(None, (setup.system_prompt, setup.instructions)))


def _files(setup: Setup) -> dict[str, str]:
    # Looks as if its plugin package were installed: else it asks npm for that in the background.
    needed = {"dependencies": {"@opencode-ai/plugin": "*"}}
    return {
        f"{_SETTINGS}/package.json": json.dumps(needed),
        f"{_SETTINGS}/package-lock.json": json.dumps({"lockfileVersion": 3, "packages": {"": needed}}),
        f"{_SETTINGS}/node_modules/.keep": "",
        _INSTRUCTIONS: _instructions(setup),
    }


def _read_part(part: Mapping[str, Any], at: float, journal: Journal) -> None:
    turn = journal.turns[-1] if journal.turns else journal.turn(at)
    match part["type"]:
        case "text":
            turn.text = "\n\n".join(filter(None, (turn.text, part["text"])))
        case "reasoning":
            turn.reasoning = "\n\n".join(filter(None, (turn.reasoning, part["text"])))
        case "tool":
            turn.tool_calls.append(_call(part, at))
        case "step-finish":
            _finish(turn, part, journal)


def _call(part: Mapping[str, Any], at: float) -> ToolCall:
    """Calls are told when they are over, with their times in milliseconds of the clock."""
    state = part["state"]
    times = state.get("time") or {}
    took = (times.get("end", 0) - times.get("start", 0)) / 1000
    failed = state["status"] == "error" or bool((state.get("metadata") or {}).get("exit"))
    return ToolCall(
        id=part["callID"],
        name=part["tool"],
        arguments=state.get("input") or {},
        result=str(state.get("output") or state.get("error") or ""),
        failed=failed,
        started=max(0.0, at - took),
        ended=at,
    )


def _finish(turn: Turn, part: Mapping[str, Any], journal: Journal) -> None:
    if part["reason"] == "unknown":  # goes on as if nothing had happened, maybe for ever
        journal.retrying = Problem(message="the stream ended in the middle of an answer")
        return
    journal.retrying = None
    tokens, cache = part["tokens"], part["tokens"].get("cache") or {}
    sent = tokens["input"] + cache.get("read", 0) + cache.get("write", 0)
    turn.usage = Usage(
        input_tokens=sent,
        cached_input_tokens=cache.get("read", 0),
        # whether `output` holds the reasoning depends on the provider; the total does in any case
        output_tokens=tokens["total"] - sent,
        reasoning_tokens=tokens.get("reasoning", 0),
    )
    journal.usage = (journal.usage or Usage()) + turn.usage
    # nothing is what a model costs whose price it does not know
    if part.get("cost"):
        turn.cost_usd = part["cost"]
        journal.cost_usd = (journal.cost_usd or 0.0) + part["cost"]
    journal.finished = part["reason"] != "tool-calls"


def _problem(error: Mapping[str, Any]) -> Problem:
    data = error.get("data") or {}
    message = str(data.get("message") or error.get("name") or error)
    return Problem(message=message, status=data.get("statusCode"), code=_code(data.get("responseBody")))


def _code(body: Any) -> str:
    try:
        error = json.loads(body or "{}").get("error")
    except (ValueError, AttributeError):
        return ""
    return str(error.get("code") or error.get("type") or "") if isinstance(error, dict) else ""
