"""Waiting until a task app answers as the one that was started, whatever backend it lives on."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import ConfigurationError, InfrastructureError
from core.tls import tls_context
from sandboxes.base import Endpoint

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_GROWTH = 1.2
"""Of pauses: the answer comes late by a sixth of the time that it took, at most."""
_PATIENCE = 5.0
"""Seconds for one answer; less than any proxy's limit."""


class Answer(BaseModel):
    """What `/health` says (the task app's `Health`)."""

    model_config = ConfigDict(extra="ignore")

    status: Literal["starting", "ok", "failed"]
    nonce: str
    detail: str | None = None


async def wait_until_healthy(
    endpoint: Endpoint,
    nonce: str,
    timeout: float,
    *,
    died: Awaitable[None],
    log: Callable[[], Awaitable[str]],
    trust_env: bool,
) -> None:
    """Poll `/health` until it answers `ok` with this nonce, at most `timeout` seconds.

    `died` is awaited meanwhile, and ends when the task app has; `log` gets the end of its log, for an error to show.
    `trust_env` says whether the environment's HTTP proxies are on the way.

    Raises:
        ConfigurationError: the task app says that it can't get ready.
        InfrastructureError: it died, another server answers in its place, or the time is up.
    """
    healthy = asyncio.ensure_future(_poll(endpoint, nonce, trust_env))
    dead = asyncio.ensure_future(died)
    try:
        await asyncio.wait({healthy, dead}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        # If both are there, the death is the news: it may be why the poll failed, and it outdates a good answer.
        if dead.done():
            await dead
            raise InfrastructureError(with_log(f"The task app on port {_port(endpoint)} has died.", await log()))
        if not healthy.done():
            ready = f"The task app on port {_port(endpoint)} was not ready within {timeout:g} s"
            raise InfrastructureError(with_log(f"{ready}. A slow machine needs more time.", await log()))
        await healthy
    finally:
        healthy.cancel()
        dead.cancel()
        await asyncio.gather(healthy, dead, return_exceptions=True)


def with_log(message: str, log: str) -> str:
    """The message of an error about a task app, with what that said last."""
    return f"{message} The end of its log:\n{log}" if log else f"{message} It left no log."


async def _poll(endpoint: Endpoint, nonce: str, trust_env: bool) -> None:
    headers = {name: value.get_secret_value() for name, value in endpoint.headers.items()}
    async with httpx.AsyncClient(
        headers=headers, timeout=_PATIENCE, trust_env=trust_env, verify=tls_context()
    ) as client:
        pause = _FIRST_PAUSE
        while not await _is_ready(client, endpoint, nonce):
            await asyncio.sleep(pause)
            pause = min(pause * _GROWTH, _LONGEST_PAUSE)


async def _is_ready(client: httpx.AsyncClient, endpoint: Endpoint, nonce: str) -> bool:
    try:
        response = await client.get(f"{endpoint.url}/health")
    except httpx.TransportError:
        return False  # nothing listens yet, or it is too busy to answer
    try:
        answer = Answer.model_validate_json(response.content)
    except ValidationError:
        if response.status_code >= 500:
            return False  # a gateway with nothing behind it yet
        raise _other_server(endpoint, f"HTTP {response.status_code} without a health report") from None
    if answer.nonce != nonce:
        raise _other_server(endpoint, "another nonce")
    if answer.status == "failed":
        raise ConfigurationError(f"The task app can't get ready: {answer.detail or 'it gave no reason'}")
    return answer.status == "ok"


def _other_server(endpoint: Endpoint, what: str) -> InfrastructureError:
    return InfrastructureError(
        f"Another server than the task app of this run answers on port {_port(endpoint)} ({what}). "
        "Run it again; if that does not help, choose another port with --port."
    )


def _port(endpoint: Endpoint) -> int:
    """All that a message may tell of the URL, since a backend's URL may hold a token."""
    url = urlsplit(endpoint.url)
    return url.port or (443 if url.scheme == "https" else 80)
