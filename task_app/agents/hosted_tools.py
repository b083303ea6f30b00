"""Tools that a provider runs itself, such as a search of the web: by them a model reaches the internet, and so does
whoever may ask it.

https://platform.openai.com/docs/guides/tools, https://docs.claude.com/en/docs/agents-and-tools/tool-use/overview
"""

import json
import re
from collections.abc import Iterator
from typing import Any

POSTED = {"responses", "responses/compact", "chat/completions", "messages", "messages/count_tokens"}
"""All that an agent has to post to. What else providers offer (batches, assistants...) can ask in one's place."""

_TOOLS = re.compile(r"web_|mcp|code_execution|code_interpreter|browser|openrouter:")
_FIELDS = ("mcp_servers", "web_search_options", "plugins")
_ADDRESS = re.compile(r"\s*https?:", re.IGNORECASE)
_MODELS = re.compile(r"search|sonar|:online")


def reaching_out(route: str, body: bytes) -> str | None:
    """What in a request to a model would let it reach the internet; None if nothing would."""
    if route not in POSTED:
        return f"the route {route}"
    try:
        request = json.loads(body)
        if not isinstance(request, dict):
            return "what is no JSON object"
        return next(_ways_out(request), None)
    except ValueError:
        return "what is no JSON"
    except RecursionError:
        return "what is nested without end"


def _ways_out(request: dict[str, Any]) -> Iterator[str]:
    if _MODELS.search(model := str(request.get("model"))):
        yield f"the model {model}"
    yield from (f"the field {name}" for name in _FIELDS if request.get(name))
    yield from (f"the tool {kind}" for kind in _kinds(request) if _TOOLS.match(kind))
    if any(_is_fetched(value) for name, value in request.items() if name != "tools"):
        yield "a file or picture by its address"


def _kinds(holder: dict[str, Any]) -> Iterator[str]:
    """The types of all tools; some hold further ones."""
    tools = holder.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict):
            yield str(tool.get("type", ""))
            yield from _kinds(tool)


def _is_fetched(value: Any) -> bool:
    """Whether something in there is given by an address, for the provider to fetch."""
    if isinstance(value, list):
        return any(map(_is_fetched, value))
    if not isinstance(value, dict) or value.get("type") == "tool_use":  # what a tool was called with is the agent's own
        return False
    given = (value.get(name) for name in ("url", "image_url", "file_url"))
    return any(isinstance(one, str) and _ADDRESS.match(one) for one in given) or any(map(_is_fetched, value.values()))
