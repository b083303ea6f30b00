"""Waiting until a task app answers as the one that was started, whatever backend it lives on."""

import asyncio
from collections.abc import Awaitable
from typing import Literal, NoReturn
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import ConfigurationError, InfrastructureError
from sandboxes.base import Endpoint

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_PATIENCE = 5.0
"""Seconds for one answer; less than any proxy's limit."""


class Answer(BaseModel):
    """What `/health` says (the task app's `Health`)."""

    model_config = ConfigDict(extra="ignore")

    status: Literal["starting", "ok", "failed"]
    nonce: str
    detail: str | None = None


async def wait_until_healthy(
    endpoint: Endpoint, nonce: str, timeout: float, death: Awaitable[InfrastructureError], *, trust_env: bool
) -> None:
    """Poll `/health` until it answers `ok` with this nonce, at most `timeout` seconds.

    `death` is awaited beside it: it ends, with the error to raise, when the task app has died. `trust_env` says whether
    the environment's HTTP proxies are on the way.

    Raises:
        ConfigurationError: the task app says that it can't get ready.
        InfrastructureError: it died, another server answers in its place, or the time is up.
    """
    health = asyncio.ensure_future(_poll(endpoint, nonce, timeout, trust_env))
    died = asyncio.ensure_future(death)
    try:
        await asyncio.wait({health, died}, return_when=asyncio.FIRST_COMPLETED)
        # If both are there, the death is the news: it may be why the poll failed, and it outdates a good answer.
        if died.done():
            raise await died
        await health
    finally:
        health.cancel()
        died.cancel()
        await asyncio.gather(health, died, return_exceptions=True)


async def _poll(endpoint: Endpoint, nonce: str, timeout: float, trust_env: bool) -> None:
    headers = {name: value.get_secret_value() for name, value in endpoint.headers.items()}
    last = "nothing answered yet"
    try:
        async with (
            asyncio.timeout(timeout),
            httpx.AsyncClient(headers=headers, timeout=_PATIENCE, trust_env=trust_env) as client,
        ):
            pause = _FIRST_PAUSE
            while True:
                try:
                    response = await client.get(f"{endpoint.url}/health")
                except httpx.TransportError as error:
                    last = f"the last try ended in {type(error).__name__}"
                else:
                    answer = _read(response, endpoint)
                    if answer and _judge(answer, nonce, endpoint):
                        return
                    last = f"it last said {answer.status if answer else f'HTTP {response.status_code}'}"
                await asyncio.sleep(pause)
                pause = min(pause * 1.5, _LONGEST_PAUSE)
    except TimeoutError:
        raise InfrastructureError(
            f"The task app on port {_port(endpoint)} was not ready within {timeout:g} s ({last}). "
            "Its log says what it is doing; a slow machine needs more time."
        ) from None


def _read(response: httpx.Response, endpoint: Endpoint) -> Answer | None:
    """The answer, None where a gateway says that nothing listens behind it yet."""
    try:
        return Answer.model_validate_json(response.content)
    except ValidationError:
        if response.status_code >= 500:
            return None
        _other_server(endpoint, f"HTTP {response.status_code} without a health report")


def _judge(answer: Answer, nonce: str, endpoint: Endpoint) -> bool:
    """Whether it is ready, as opposed to on its way."""
    if answer.nonce != nonce:
        _other_server(endpoint, "another nonce")
    if answer.status == "failed":
        raise ConfigurationError(f"The task app can't get ready: {answer.detail or 'it gave no reason, see its log'}")
    return answer.status == "ok"


def _other_server(endpoint: Endpoint, what: str) -> NoReturn:
    raise InfrastructureError(
        f"Another server than the task app of this run answers on port {_port(endpoint)} ({what}). "
        "Run it again; if that does not help, choose another port with --port."
    )


def _port(endpoint: Endpoint) -> int:
    """All that a message may tell of the URL, since a backend's URL may hold a token."""
    url = urlsplit(endpoint.url)
    return url.port or (443 if url.scheme == "https" else 80)
