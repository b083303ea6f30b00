"""What the three wire protocols have in common: a request understood, a reply to be put into their words."""

import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from tests.scripted_model.script import Refuse, Usage
from tests.scripted_model.tools import Call, Tools

_FOLDERS = (
    re.compile(r"<cwd>([^<]+)</cwd>"),
    re.compile(r"(?:Primary working|Working) directory:\s*(\S+)"),
)


@dataclass(frozen=True)
class Conversation:
    """What a request says."""

    model: str
    streamed: bool
    tools: Tools
    replies_with_calls: int
    """How many of the model's earlier replies called tools: the number of the turn to come."""
    folder: str | None
    """Where the agent says that it works."""


@dataclass(frozen=True)
class Reply:
    model: str
    parts: tuple[str | Call, ...]
    usage: Usage


class Wire(Protocol):
    """One protocol."""

    name: str

    def read(self, body: Mapping[str, Any]) -> Conversation: ...

    def whole(self, reply: Reply) -> dict[str, Any]: ...

    def events(self, reply: Reply) -> Iterator[str]:
        """The same as server-sent events."""
        ...

    def error(self, refusal: Refuse) -> dict[str, Any]: ...


def event(data: Mapping[str, Any], name: str | None = None) -> str:
    return (f"event: {name}\n" if name else "") + f"data: {json.dumps(data)}\n\n"


def new_id(prefix: str) -> str:
    return f"{prefix}_{secrets.token_hex(12)}"


def folder_in(texts: Iterable[str]) -> str | None:
    text = "\n".join(texts)
    for pattern in _FOLDERS:
        if found := pattern.findall(text):
            return str(found[-1]).strip()
    return None


def texts(content: Any) -> Iterator[str]:
    """All text in a message's content, whichever of the forms it has."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, Mapping):
        yield from texts(content.get("text") or content.get("content"))
    elif isinstance(content, list):
        for part in content:
            yield from texts(part)


def openai_error(refusal: Refuse) -> dict[str, Any]:
    by_status = {401: "invalid_api_key", 403: "permission_denied", 429: "rate_limit_exceeded"}
    code = refusal.code or by_status.get(refusal.status, "server_error" if refusal.status >= 500 else "invalid_request")
    return {"error": {"message": refusal.message, "type": code, "code": code, "param": None}}
