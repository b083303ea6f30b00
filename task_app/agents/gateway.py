"""Stands between one agent and its model, so that the agent never holds the key.

The agent talks HTTP to a port of the loopback of its jail, which if that has a network of its own is all there is to be
reached. Each request is sent on to the real address with the real key, and the answer comes back byte by byte as the
provider sends it. On the way it is seen what is wrong with the model, which not every agent tells.
"""

import asyncio
import contextlib
import json
import logging
import secrets
import ssl
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from pydantic import SecretStr

from task_app.agents.hosted_tools import reaching_out
from task_app.agents.inference import Endpoint
from task_app.agents.trajectory import Problem
from task_app.doors import Door, answered
from task_app.http1 import HEAD_LIMIT, Head, Headers, read_body

logger = logging.getLogger(__name__)

_CHUNK = 64 * 1024
_CONNECT_TIMEOUT = 30.0
_LAST_WORDS = 1.0
"""Seconds for connections to end once the agent is gone."""
_BEGINNING = 4096
"""Bytes of an answer that are looked at if it is an error."""
_OURS = {
    "host",
    "accept-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "authorization",
    "x-api-key",
}
"""Headers that are not passed on as they are."""
_OF_THE_BODY = {"content-length", "transfer-encoding", "expect"}
"""Headers of a request about its body, which is sent on in one piece."""

ROUTES = {"responses", "chat/completions", "messages"}
"""Where models answer. What other routes say is of no consequence: not every provider has them."""


class _AgentLeft(Exception):
    """The agent ended its connection before the answer had ended."""


class Gateway:
    """One rollout's way to its model; see `opened`."""

    def __init__(
        self, target: Endpoint, patience: float, door: Door, max_turns: int | None = None, internet: bool = False
    ) -> None:
        self.trouble: Problem | None = None
        """Why the model's last answer is missing; None if it came. Retries of the agent don't count as an answer."""
        self.refused_turn = False
        """Whether the agent asked for more than `max_turns` answers."""
        self._answers = 0
        self._max_turns = max_turns
        self.target = target
        """The model itself."""
        self._patience = patience
        self._internet = internet
        self.door = door
        """Where the agent comes in."""
        self._token = secrets.token_urlsafe(16)

    @property
    def endpoint(self) -> Endpoint:
        """What the agent is to talk to. Its key is worth nothing anywhere else."""
        url = f"http://127.0.0.1:{self.door.port}/{self._token}/v1"
        return Endpoint(url, SecretStr("held-by-the-gateway"), self.target.key_name, self.target.proxied)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection: a single request, for which the answer says that it was the last."""
        try:
            await self._pass_on(reader, writer)
        except (ConnectionError, ssl.SSLError) as error:
            logger.info("A connection of an agent to its model broke: %s", error)
        finally:
            writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await Head.read(reader)
        method, _, rest = request.line.partition(" ")
        path, _, version = rest.rpartition(" ")
        prefix = f"/{self._token}/"
        if not path.startswith(prefix):
            writer.write(_answer(404, "There is nothing here."))
            return
        route, mark, query = path.removeprefix(prefix).removeprefix("v1/").partition("?")
        where = urlsplit(self.target.url)
        line = f"{method} {where.path}/{route}{mark}{query} {version}"
        body = await read_body(reader, request.headers)
        if refusal := self._refusal(method, route, body):
            writer.write(_answer(400, refusal))
            return
        # At once: an agent may ask for several answers at a time, and leave before the end of one has been seen here.
        counts = route in ROUTES
        self._answers += counts
        try:
            upstream = await self._connect()
        except (OSError, TimeoutError) as error:
            self._answers -= counts
            self.trouble = Problem(message=f"it can't be reached ({str(error) or type(error).__name__})")
            writer.write(_answer(502, f"{self.target.url}: {self.trouble.message}"))
            return
        try:
            length = [("Content-Length", str(len(body)))] if body else []
            headers = [*self._headers(request.headers), *length, ("Host", where.netloc), ("Connection", "close")]
            trouble = await self._exchange(Head(line, headers).text() + body, (reader, writer), upstream)
        except _AgentLeft:  # which says nothing about the model
            return
        if counts:
            self.trouble = trouble
            self._answers -= trouble is not None

    def _refusal(self, method: str, route: str, body: bytes) -> str | None:
        """Why a request is not sent on; None if it is."""
        if route in ROUTES and self._answers == self._max_turns:
            self.refused_turn = True
            return f"The limit of {self._max_turns} turns is reached."
        if not self._internet and method not in ("GET", "HEAD") and (what := reaching_out(route, body)):
            return f"There is no internet here, so {what} can't be used."
        return None

    def _headers(self, given: Headers) -> Headers:
        """The agent's, with the real key in the place of its own."""
        key = self.target.key.get_secret_value()
        kept = [(name, value) for name, value in given if name.lower() not in _OURS | _OF_THE_BODY]
        if any(name.lower() == "x-api-key" for name, _ in given):
            return [*kept, ("X-Api-Key", key)]
        return [*kept, ("Authorization", f"Bearer {key}")]

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        where = urlsplit(self.target.url)
        secure = where.scheme == "https"
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            return await asyncio.open_connection(
                where.hostname,
                where.port or (443 if secure else 80),
                ssl=ssl.create_default_context() if secure else None,
                limit=HEAD_LIMIT,
            )

    async def _exchange(
        self,
        request: bytes,
        agent: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        model: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> Problem | None:
        """One request and its answer. Returns what is wrong with the answer.

        Raises:
            _AgentLeft: nobody waits for the answer any more.
        """
        model[1].write(request)
        leaving = asyncio.create_task(_until_it_leaves(agent[0], model[1]))
        try:
            async with asyncio.timeout(self._patience):
                answer = await Head.read(model[0])
            headers = [(name, value) for name, value in answer.headers if name.lower() not in _OURS]
            agent[1].write(Head(answer.line, [*headers, ("Connection", "close")]).text())
            begun = await self._receive(model[0], agent[1])
        except TimeoutError:
            return Problem(message=f"it was silent for {self._patience:.0f} s")
        except ConnectionError as error:
            if leaving.done():
                raise _AgentLeft from error
            return Problem(message=str(error))
        finally:
            leaving.cancel()
            model[1].close()
        status = int(answer.line.split(" ")[1])
        return _problem(status, answer.line, begun) if status >= 400 else None

    async def _receive(self, model: asyncio.StreamReader, agent: asyncio.StreamWriter) -> bytes:
        """Pass on an answer's body. Returns the beginning of it.

        Raises:
            TimeoutError: the model was silent for too long.
            _AgentLeft: nobody wants it any more.
        """
        begun = b""
        while chunk := await asyncio.wait_for(model.read(_CHUNK), self._patience):
            begun = (begun + chunk)[:_BEGINNING]
            agent.write(chunk)
            try:
                await agent.drain()
            except ConnectionError as error:
                raise _AgentLeft from error
        return begun


async def _until_it_leaves(agent: asyncio.StreamReader, model: asyncio.StreamWriter) -> None:
    """The agent keeps its side open for the answer, so if that ends it has left."""
    with contextlib.suppress(ConnectionError):
        while await agent.read(_CHUNK):
            continue
        model.close()


def _problem(status: int, line: str, body: bytes) -> Problem:
    """What the providers' errors say: `{"error": {"message": ..., "code": ... or "type": ...}}`."""
    try:
        error = json.loads(body[body.index(b"{") : body.rindex(b"}") + 1])["error"]
        return Problem(message=error["message"], status=status, code=str(error.get("code") or error.get("type") or ""))
    except (ValueError, LookupError, TypeError, AttributeError):  # somebody else's error, e.g. a proxy's page
        return Problem(message=line, status=status)


def _answer(status: int, message: str) -> bytes:
    body = json.dumps({"error": {"message": message, "type": "gateway"}}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), ("Connection", "close")]
    return Head(f"HTTP/1.1 {status} From-The-Gateway", headers).text() + body


@contextlib.asynccontextmanager
async def opened(
    target: Endpoint, patience: float, door: Door, max_turns: int | None = None, internet: bool = False
) -> AsyncIterator[Gateway]:
    """A gateway to the model at `target`; gone at the end, with all its connections and its door.

    Args:
        patience: seconds after which an answer that does not go on is given up.
        door: where the agent comes in; it may open later.
        max_turns: answers of the model that the agent may have; None for as many as it likes.
        internet: whether the model may reach the internet in the agent's place.
    """
    gateway = Gateway(target, patience, door, max_turns, internet)
    # once the agent is gone, its connections still have to tell how they ended
    with door:
        async with answered(door, gateway.handle, HEAD_LIMIT, _LAST_WORDS):
            yield gateway
