"""Anthropic's Claude Code: Messages API, JSON lines. https://code.claude.com/docs/en/headless"""

import json
from collections.abc import Mapping
from typing import Any

from task_app.agents.cli import Launch, Setup
from task_app.agents.inference import ANTHROPIC, Provider
from task_app.agents.programs import Program, Tool
from task_app.agents.trajectory import Journal, Problem, ToolCall, Turn, Usage

_SYSTEM_PROMPT = ".claude/system-prompt.md"


class ClaudeCode:
    name = "claude_code"
    description = "Anthropic's Claude Code"
    program = Program("claude", "CLAUDE_BIN", "@anthropic-ai/claude-code", "2.1.330")
    tools: tuple[Tool, ...] = ()
    skills = ".claude/skills"
    reads_agents_md = False

    def provider(self, model: str | None) -> Provider:
        return ANTHROPIC

    def launch(self, setup: Setup) -> Launch:
        added = "\n\n".join(filter(None, (setup.system_prompt, setup.instructions)))
        return Launch(
            arguments=(
                "-p",
                *("--output-format", "stream-json", "--verbose"),
                "--dangerously-skip-permissions",
                "--strict-mcp-config",
                *("--setting-sources", "user"),
                # the other agents are given none, either
                *("--disallowedTools", "WebSearch,WebFetch"),
                *(("--model", setup.model) if setup.model else ()),
                *(("--append-system-prompt-file", str(setup.home / _SYSTEM_PROMPT)) if added else ()),
            ),
            environment=_environment(setup),
            files={_SYSTEM_PROMPT: added} if added else {},
        )

    def read(self, event: Mapping[str, Any], at: float, journal: Journal) -> None:
        if event.get("parent_tool_use_id"):  # a subagent's: its result comes as that of the tool
            return
        match event.get("type"):
            case "assistant":
                _read_reply(event["message"], at, journal)
            case "user":
                _read_results(event["message"]["content"], at, journal)
            case "system" if event.get("subtype") == "api_retry":
                journal.retrying = Problem(
                    message=str(event.get("error")), status=event.get("error_status"), code=str(event.get("error"))
                )
            case "result":
                _read_result(event, journal)


def _environment(setup: Setup) -> dict[str, str]:
    patience = str(int(setup.patience * 1000))
    return {
        "ANTHROPIC_BASE_URL": setup.endpoint.root,
        "ANTHROPIC_API_KEY": setup.endpoint.key.get_secret_value(),
        "CLAUDE_CONFIG_DIR": str(setup.home / ".claude"),
        # lets it run as root, where the jail can't be another user
        "IS_SANDBOX": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
        "CLAUDE_CODE_DISABLE_AUTO_MEMORY": "1",
        # instruction files of the host's folders above the workspace
        "CLAUDE_CODE_DISABLE_CLAUDE_MDS": "1",
        "CLAUDE_CODE_MAX_RETRIES": "3",
        "CLAUDE_ENABLE_STREAM_WATCHDOG": "1",
        "CLAUDE_STREAM_IDLE_TIMEOUT_MS": patience,
        "CLAUDE_STREAM_FIRST_BYTE_TIMEOUT_MS": patience,
        "CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS": patience,
        "CLAUDE_ENABLE_BYTE_WATCHDOG": "1",
        **({"CLAUDE_CODE_SUBAGENT_MODEL": setup.model} if setup.model else {}),
    }


def _read_reply(message: Mapping[str, Any], at: float, journal: Journal) -> None:
    """A reply comes in several events with the same id, a part in each."""
    if message.get("model") == "<synthetic>":  # its own words about an error
        return
    journal.retrying = None
    turn = _turn(message["id"], at, journal)
    for part in message["content"]:
        match part["type"]:
            case "text":
                turn.text = "\n\n".join(filter(None, (turn.text, part["text"])))
            case "thinking":
                turn.reasoning = "\n\n".join(filter(None, (turn.reasoning, part["thinking"])))
            case "tool_use":
                turn.tool_calls.append(ToolCall(id=part["id"], name=part["name"], arguments=part["input"], started=at))


def _turn(id: str, at: float, journal: Journal) -> Turn:
    if journal.reply_id != id:
        journal.reply_id = id
        return journal.turn(at)
    return journal.turns[-1]


def _read_results(content: Any, at: float, journal: Journal) -> None:
    for part in content if isinstance(content, list) else ():
        if part.get("type") == "tool_result" and (call := journal.call(part["tool_use_id"])):
            result = part.get("content") or ""
            call.result = result if isinstance(result, str) else _text(result)
            call.failed, call.ended = bool(part.get("is_error")), at


def _text(parts: list[Mapping[str, Any]]) -> str:
    return "\n".join(str(part.get("text") or json.dumps(part)) for part in parts)


def _read_result(event: Mapping[str, Any], journal: Journal) -> None:
    # `subtype` says success for errors, too
    if event["is_error"] and event.get("subtype") != "error_max_turns":
        journal.problem = Problem(
            message=str(event.get("result") or event.get("subtype")),
            status=event.get("api_error_status"),
            code=str(event.get("api_error_type") or event.get("api_error") or ""),
        )
        return
    usage, models = event["usage"], event.get("modelUsage") or {}
    cached, written = usage.get("cache_read_input_tokens", 0), usage.get("cache_creation_input_tokens", 0)
    journal.usage = Usage(
        input_tokens=usage["input_tokens"] + cached + written,
        cached_input_tokens=cached,
        output_tokens=usage["output_tokens"],
        reasoning_tokens=(usage.get("output_tokens_details") or {}).get("thinking_tokens", 0),
    )
    journal.finished = True
    # for a model that it does not know it makes up a price
    if models and all(model.get("costBasis") != "unknown" for model in models.values()):
        journal.cost_usd = event.get("total_cost_usd")
