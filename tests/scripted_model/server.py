"""The HTTP side: `<base>/s/<script>/v1/...`, each script at an address of its own."""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from tests.scripted_model.chat import ChatCompletions
from tests.scripted_model.messages import Messages
from tests.scripted_model.responses import Responses
from tests.scripted_model.script import Cut, Refuse, Say, Script, Silence
from tests.scripted_model.tools import call
from tests.scripted_model.wire import Conversation, Reply, Wire


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    path: str
    key: str
    turn: int | None
    """None for one that the script does not count."""
    body: Mapping[str, Any]


@dataclass
class ScriptedModel:
    """All scripts by name, and what was asked of each."""

    base_url: str
    scripts: dict[str, Script] = field(default_factory=dict)
    asked: dict[str, list[Asked]] = field(default_factory=dict)
    _refused: Counter[tuple[str, int]] = field(default_factory=Counter)

    def add(self, name: str, script: Script) -> str:
        """Put a script in place; returns its address, which goes without /v1."""
        self.scripts[name] = script
        self.asked[name] = []
        return f"{self.base_url}/s/{name}"

    async def answer(self, name: str, wire: Wire, request: Request) -> Response:
        script = self.scripts[name]
        body = await request.json()
        conversation = wire.read(body)
        number = conversation.replies_with_calls if conversation.tools else None
        key = _key(request)
        self.asked[name].append(Asked(request.url.path, key, number, body))
        if script.key is not None and key != script.key:
            return _refusal(wire, Refuse(401, "Incorrect API key provided."))
        if number is None:
            return _reply(wire, conversation, Reply(conversation.model, (script.aside,), script.usage))
        fault, *rest = script.turn(number) if script.turn(number) else [Say("")]
        if isinstance(fault, Refuse) and self._still_refuses(name, number, fault):
            return _refusal(wire, fault)
        acts = rest if isinstance(fault, Refuse | Silence | Cut) else [fault, *rest]
        parts = tuple(
            act.text if isinstance(act, Say) else call(act, conversation.tools, conversation.folder)
            for act in acts
            if not isinstance(act, Refuse | Silence | Cut)
        )
        return _reply(wire, conversation, Reply(conversation.model, parts or ("",), script.usage), fault)

    def _still_refuses(self, name: str, turn: int, refusal: Refuse) -> bool:
        self._refused[name, turn] += 1
        return refusal.times is None or self._refused[name, turn] <= refusal.times


WIRES: Mapping[str, Wire] = {
    "responses": Responses(),
    "chat/completions": ChatCompletions(),
    "messages": Messages(),
}
"""By path below /v1."""


def application(model: ScriptedModel) -> FastAPI:
    app = FastAPI()
    for path, wire in WIRES.items():
        _route(app, path, wire, model)

    @app.post("/s/{name}/v1/messages/count_tokens")
    async def count_tokens(name: str, request: Request) -> dict[str, int]:
        return {"input_tokens": max(1, len(await request.body()) // 4)}

    @app.get("/s/{name}/v1/models")
    async def models(name: str) -> dict[str, Any]:
        one = {"id": "scripted", "object": "model", "owned_by": "tests", "type": "model", "display_name": "scripted"}
        return {"object": "list", "data": [one], "models": [], "has_more": False}

    return app


def _route(app: FastAPI, path: str, wire: Wire, model: ScriptedModel) -> None:
    @app.post(f"/s/{{name}}/v1/{path}")
    async def answer(name: str, request: Request) -> Response:
        return await model.answer(name, wire, request)


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[ScriptedModel]:
    """A scripted model on a free port of the loopback; gone at the end, with all that wait for it."""
    listener = socket.create_server(("127.0.0.1", 0))
    host, port = listener.getsockname()
    model = ScriptedModel(f"http://{host}:{port}")
    config = uvicorn.Config(
        application(model), access_log=False, log_config=None, lifespan="off", timeout_graceful_shutdown=1
    )
    server = _Server(config)
    stopped = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        yield model
    finally:
        server.should_exit = True
        await stopped


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the tests' own."""
        yield


def _reply(wire: Wire, conversation: Conversation, reply: Reply, fault: object = None) -> Response:
    if not conversation.streamed:
        return JSONResponse(wire.whole(reply))
    if isinstance(fault, Silence):
        return StreamingResponse(_silence(), media_type="text/event-stream")
    events = list(wire.events(reply))
    if isinstance(fault, Cut):
        events = events[: len(events) // 2]
    return StreamingResponse(iter(events), media_type="text/event-stream")


async def _silence() -> AsyncIterator[str]:
    yield ": nothing follows\n\n"
    await asyncio.Event().wait()


def _refusal(wire: Wire, refusal: Refuse) -> Response:
    return JSONResponse(wire.error(refusal), refusal.status)


def _key(request: Request) -> str:
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ").strip()
    return bearer or request.headers.get("x-api-key", "")
