"""Anthropic's Messages API, as Claude Code speaks it: https://docs.anthropic.com/en/api/messages"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.scripted_model.script import Refuse
from tests.scripted_model.tools import Call
from tests.scripted_model.wire import Conversation, Reply, event, folder_in, new_id, texts

_ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    529: "overloaded_error",
}


class Messages:
    name = "messages"

    def read(self, body: Mapping[str, Any]) -> Conversation:
        messages = body["messages"]
        return Conversation(
            model=body["model"],
            streamed=bool(body.get("stream")),
            tools={tool["name"]: "function" for tool in body.get("tools") or []},
            replies_with_calls=sum(1 for message in messages if _has_calls(message)),
            folder=folder_in(texts([body.get("system"), *(message["content"] for message in messages)])),
        )

    def whole(self, reply: Reply) -> dict[str, Any]:
        return {**_message(reply), "content": [_block(part) for part in reply.parts], "stop_reason": _reason(reply)}

    def events(self, reply: Reply) -> Iterator[str]:
        message = _message(reply)
        begun = {**message, "content": [], "usage": {**message["usage"], "output_tokens": 1}}
        yield _event("message_start", message=begun)
        for index, block in enumerate(_block(part) for part in reply.parts):
            if block["type"] == "text":
                empty, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
            else:
                empty = {**block, "input": {}}
                delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
            yield _event("content_block_start", index=index, content_block=empty)
            yield _event("content_block_delta", index=index, delta=delta)
            yield _event("content_block_stop", index=index)
        end = {"stop_reason": _reason(reply), "stop_sequence": None}
        yield _event("message_delta", delta=end, usage=message["usage"])
        yield _event("message_stop")

    def error(self, refusal: Refuse) -> dict[str, Any]:
        kind = refusal.code or _ERRORS.get(refusal.status, "api_error")
        return {"type": "error", "error": {"type": kind, "message": refusal.message}, "request_id": new_id("req")}


def _event(kind: str, **data: Any) -> str:
    return event({"type": kind, **data}, kind)


def _has_calls(message: Mapping[str, Any]) -> bool:
    content = message["content"]
    return (
        message["role"] == "assistant"
        and isinstance(content, list)
        and any(part.get("type") == "tool_use" for part in content)
    )


def _message(reply: Reply) -> dict[str, Any]:
    usage = reply.usage
    return {
        "id": new_id("msg"),
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": usage.input - usage.cached,
            "cache_read_input_tokens": usage.cached,
            "cache_creation_input_tokens": 0,
            "output_tokens": usage.output,
        },
    }


def _block(part: str | Call) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    return {"type": "tool_use", "id": new_id("toolu"), "name": part.tool, "input": part.arguments}


def _reason(reply: Reply) -> str:
    return "end_turn" if all(isinstance(part, str) for part in reply.parts) else "tool_use"
