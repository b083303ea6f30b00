"""OpenAI's Responses API, as codex speaks it: https://platform.openai.com/docs/api-reference/responses"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from tests.scripted_model.script import Refuse
from tests.scripted_model.tools import Call, Kind
from tests.scripted_model.wire import Conversation, Reply, event, folder_in, new_id, openai_error, texts

_CALLS = {"function_call", "custom_tool_call", "local_shell_call"}


class Responses:
    name = "responses"

    def read(self, body: Mapping[str, Any]) -> Conversation:
        given = body.get("input") or []
        items = [{"type": "message", "content": given}] if isinstance(given, str) else given
        return Conversation(
            model=body["model"],
            streamed=bool(body.get("stream")),
            tools=dict(_tools([*(body.get("tools") or []), *_added_tools(items)])),
            replies_with_calls=_replies_with_calls(items),
            folder=folder_in([body.get("instructions") or "", *texts([item.get("content") for item in items])]),
        )

    def whole(self, reply: Reply) -> dict[str, Any]:
        return _response(reply, [_item(part) for part in reply.parts], "completed")

    def events(self, reply: Reply) -> Iterator[str]:
        output = [_item(part) for part in reply.parts]
        started = _response(reply, [], "in_progress")
        yield _event("response.created", response=started)
        for index, item in enumerate(output):
            yield _event("response.output_item.added", output_index=index, item={**item, **_EMPTY[item["type"]]})
            if item["type"] == "message":
                at = {"item_id": item["id"], "output_index": index, "content_index": 0}
                yield _event("response.output_text.delta", delta=item["content"][0]["text"], **at)
            yield _event("response.output_item.done", output_index=index, item=item)
        yield _event("response.completed", response={**_response(reply, output, "completed"), "id": started["id"]})

    def error(self, refusal: Refuse) -> dict[str, Any]:
        return openai_error(refusal)


_EMPTY: dict[str, dict[str, Any]] = {
    "message": {"content": [], "status": "in_progress"},
    "function_call": {"arguments": "", "status": "in_progress"},
    "custom_tool_call": {"input": "", "status": "in_progress"},
}


def _event(kind: str, **data: Any) -> str:
    return event({"type": kind, **data}, kind)


def _tools(offered: list[dict[str, Any]]) -> Iterator[tuple[str, Kind]]:
    for tool in offered:
        if tool.get("type") == "namespace":
            yield from _tools(tool.get("tools") or [])
        elif "name" in tool:
            yield tool["name"], "custom" if tool["type"] == "custom" else "function"


def _added_tools(items: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Tools that are offered in the course of a conversation."""
    for item in items:
        if item.get("type") == "additional_tools":
            yield from item.get("tools") or []


def _replies_with_calls(items: list[dict[str, Any]]) -> int:
    """Consecutive calls belong to one reply."""
    kinds = [item.get("type") for item in items if item.get("type") != "reasoning"]
    return sum(
        1 for before, kind in zip([None, *kinds], kinds, strict=False) if kind in _CALLS and before not in _CALLS
    )


def _item(part: str | Call) -> dict[str, Any]:
    if isinstance(part, str):
        content = [{"type": "output_text", "text": part, "annotations": []}]
        return {
            "type": "message",
            "id": new_id("msg"),
            "role": "assistant",
            "status": "completed",
            "content": content,
        }
    common = {"id": new_id("item"), "call_id": new_id("call"), "name": part.tool, "status": "completed"}
    if isinstance(part.arguments, str):
        return {"type": "custom_tool_call", "input": part.arguments, **common}
    return {"type": "function_call", "arguments": part.json, **common}


def _response(reply: Reply, output: list[dict[str, Any]], status: str) -> dict[str, Any]:
    usage = reply.usage
    return {
        "id": new_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "model": reply.model,
        "status": status,
        "output": output,
        "error": None,
        "incomplete_details": None,
        "usage": {
            "input_tokens": usage.input,
            "input_tokens_details": {"cached_tokens": usage.cached},
            "output_tokens": usage.output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.input + usage.output,
        },
    }
