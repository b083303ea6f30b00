"""OpenAI's Chat Completions API, as opencode speaks it: https://platform.openai.com/docs/api-reference/chat"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from tests.scripted_model.script import Refuse
from tests.scripted_model.wire import Conversation, Reply, event, folder_in, new_id, openai_error, texts


class ChatCompletions:
    name = "chat"

    def read(self, body: Mapping[str, Any]) -> Conversation:
        messages = body["messages"]
        return Conversation(
            model=body["model"],
            streamed=bool(body.get("stream")),
            tools={tool["function"]["name"]: "function" for tool in body.get("tools") or []},
            replies_with_calls=sum(1 for message in messages if message.get("tool_calls")),
            folder=folder_in(texts([message.get("content") for message in messages])),
        )

    def whole(self, reply: Reply) -> dict[str, Any]:
        text, calls = _text(reply), _calls(reply)
        message = {"role": "assistant", "content": text or None, **({"tool_calls": calls} if calls else {})}
        choice = {"index": 0, "message": message, "finish_reason": _reason(calls)}
        return {**_base(reply, "chat.completion"), "choices": [choice], "usage": _usage(reply)}

    def events(self, reply: Reply) -> Iterator[str]:
        base, text, calls = _base(reply, "chat.completion.chunk"), _text(reply), _calls(reply)

        def chunk(delta: Mapping[str, Any], reason: str | None = None) -> str:
            return event({**base, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})

        yield chunk({"role": "assistant", "content": ""})
        if text:
            yield chunk({"content": text})
        for index, call in enumerate(calls):
            yield chunk({"tool_calls": [{"index": index, **call}]})
        yield chunk({}, _reason(calls))
        yield event({**base, "choices": [], "usage": _usage(reply)})
        yield "data: [DONE]\n\n"

    def error(self, refusal: Refuse) -> dict[str, Any]:
        return openai_error(refusal)


def _base(reply: Reply, kind: str) -> dict[str, Any]:
    return {"id": new_id("chatcmpl"), "object": kind, "created": int(time.time()), "model": reply.model}


def _text(reply: Reply) -> str:
    return "\n".join(part for part in reply.parts if isinstance(part, str))


def _calls(reply: Reply) -> list[dict[str, Any]]:
    return [
        {"id": new_id("call"), "type": "function", "function": {"name": part.tool, "arguments": part.json}}
        for part in reply.parts
        if not isinstance(part, str)
    ]


def _reason(calls: list[dict[str, Any]]) -> str:
    return "tool_calls" if calls else "stop"


def _usage(reply: Reply) -> dict[str, Any]:
    usage = reply.usage
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached},
    }
