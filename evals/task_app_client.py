"""Asks a task app for rollouts over HTTP, and says what kind of failure it was when there is none.

The asynchronous form of the contract: `POST /rollout` with `Prefer: respond-async` gives 202 and a Location to poll, so
that no proxy cuts a rollout that takes minutes; a direct 200 is taken as well. Asking is idempotent: the correlation id
identifies the rollout, and asking again attaches to the one that runs.
"""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr, ValidationError
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from core.errors import ConfigurationError, InfrastructureError
from core.tls import tls_context
from evals.protocol import RolloutReply
from evals.secrecy import quoted, redacted

log = logging.getLogger(__name__)

LARGEST_REPLY = 32 * 1024 * 1024
"""Bytes; a task app keeps its artifacts far below."""
POLL_PAUSE = 0.2
"""Seconds between polls, lest a task app that does not hold them is asked without end."""
CANCEL_TIMEOUT = 5.0
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
RETRIED_STATUS = frozenset({408, 425, 429})
BAD_GATEWAY = 502
"""No task app answers so, but the proxy in front of one that has died does."""


class RolloutFailed(InfrastructureError):
    """This rollout could not be scored now; asking again may help."""

    def __init__(self, kind: str, message: str, reply: RolloutReply | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.reply = reply
        """What the task app told of a rollout that it could not score itself."""


class TaskAppRefused(ConfigurationError):
    """The task app will not take this request, however often it is asked."""


class TaskAppGone(InfrastructureError):
    """Nobody listens at the task app's address any more."""


class _NobodyBehindProxy(Exception):
    """A sandbox's proxy answers in the place of a task app that it does not reach."""


@dataclass(frozen=True)
class Patience:
    """How long to bear with a task app; times in seconds."""

    retries: int = 2
    """How often a failed rollout, or a failed call while it runs, is asked for again."""
    backoff: float = 1.0
    """Upper bound of the first random wait; it doubles each time, up to 20 times this."""
    unreachable: float = 15.0
    """How long nobody may listen before the task app counts as gone."""
    long_poll: float = 20.0
    """How long the task app may hold a poll; proxies cut at about 100."""


class _Reply(NamedTuple):
    """What is looked at of an HTTP response. No key is in it, even if the task app echoes one."""

    status: int
    location: str
    text: str


class TaskAppClient:
    """One task app, as one job talks to it."""

    def __init__(self, http: httpx.AsyncClient, secrets: tuple[SecretStr, ...], patience: Patience) -> None:
        self._http = http
        self._secrets = secrets
        self._patience = patience

    async def rollout(self, request: Mapping[str, Any]) -> RolloutReply:
        """Ask for a rollout (body of `POST /rollout`) and wait until it is scored, for as long as that takes.

        Raises:
            RolloutFailed: it could not be scored.
            TaskAppRefused: the task app answered 401, 404, 422 or the like.
            TaskAppGone: nobody has listened for longer than patience allows.
        """
        reply = await self._send("POST", "/rollout", json=dict(request), headers={"Prefer": "respond-async"})
        if 400 <= reply.status < 500 and reply.status not in RETRIED_STATUS:
            raise TaskAppRefused(self._refusal(reply))
        self._require(reply, "POST /rollout")
        if reply.status == 202:
            reply = await self._poll(urlsplit(reply.location).path)
        return self._scored(reply, request["trace_correlation_id"])

    async def cancel(self, correlation_id: str) -> None:
        """End a rollout that nobody waits for any more; at most a few seconds, and no error if that fails."""
        try:
            await self._http.delete(f"/rollouts/{correlation_id}", timeout=CANCEL_TIMEOUT)
        except httpx.HTTPError as error:
            log.warning("Could not cancel rollout %s at the task app: %s", correlation_id, type(error).__name__)

    async def _poll(self, path: str) -> _Reply:
        """Wait for the rollout at a path of this task app; where else its Location points to is never followed."""
        if not re.fullmatch(r"/[\w.:/-]+", path, re.ASCII):
            raise RolloutFailed(
                "protocol", "The task app accepted the rollout (202) without a usable Location to poll."
            )
        while True:
            reply = await self._poll_once(path)
            if reply.status != 202:
                return reply
            await asyncio.sleep(POLL_PAUSE)

    async def _poll_once(self, path: str) -> _Reply:
        # A call that fails while the rollout runs is no reason to start the rollout over.
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(RolloutFailed),
            stop=stop_after_attempt(self._patience.retries + 1),
            wait=wait_random_exponential(multiplier=self._patience.backoff, max=20 * self._patience.backoff),
            reraise=True,
        )
        return await retrying(self._get, path)

    async def _get(self, path: str) -> _Reply:
        reply = await self._send("GET", path, params={"wait": self._patience.long_poll})
        if reply.status not in (401, 403, 404, 410):
            self._require(reply, f"GET {path}")
        return reply

    async def _send(self, method: str, path: str, **options: Any) -> _Reply:
        """One call. As long as nobody listens it was not made at all, and is made again until patience ends."""
        nobody_listens = (httpx.ConnectError, httpx.ConnectTimeout, _NobodyBehindProxy)
        reconnecting = AsyncRetrying(
            retry=retry_if_exception_type(nobody_listens),
            stop=stop_after_delay(self._patience.unreachable),
            wait=wait_random_exponential(multiplier=0.1, max=2),
            reraise=True,
        )
        try:
            return await reconnecting(self._exchange, method, path, **options)
        except nobody_listens:
            raise TaskAppGone(
                f"Nobody has listened at the task app's address {self._http.base_url} for "
                f"{self._patience.unreachable:g} s. Its sandbox has died or was stopped: look at the task app's log, "
                "then resume the run."
            ) from None
        except httpx.TimeoutException:
            raise RolloutFailed("timeout", f"The task app did not answer {method} {path} in time.") from None
        except httpx.HTTPError as error:
            said = quoted(f"{type(error).__name__} {error}", self._secrets)
            raise RolloutFailed(
                "connection", f"The connection to the task app broke in {method} {path}: {said}."
            ) from None

    async def _exchange(self, method: str, path: str, **options: Any) -> _Reply:
        async with self._http.stream(method, path, **options) as reply:
            if reply.status_code == BAD_GATEWAY:
                raise _NobodyBehindProxy
            size, chunks = 0, []
            async for chunk in reply.aiter_bytes():
                size += len(chunk)
                if size > LARGEST_REPLY:
                    raise RolloutFailed("protocol", f"The task app's answer is larger than {LARGEST_REPLY} bytes.")
                chunks.append(chunk)
            text = redacted(b"".join(chunks).decode(errors="replace"), self._secrets)
            return _Reply(reply.status_code, reply.headers.get("Location", ""), text)

    def _require(self, reply: _Reply, call: str) -> None:
        if reply.status not in (200, 202):
            message = f"The task app answered {call} with {reply.status}: {_detail(reply)}"
            raise RolloutFailed(f"http_{reply.status}", message)

    def _scored(self, reply: _Reply, correlation_id: str) -> RolloutReply:
        if reply.status != 200:
            raise RolloutFailed("lost", f"The task app no longer knows rollout {correlation_id} ({reply.status}).")
        try:
            rollout = RolloutReply.model_validate_json(reply.text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "body"
            raise RolloutFailed("protocol", f"The task app's answer is invalid: {where}: {first['msg']}.") from None
        if rollout.trace_correlation_id != correlation_id:
            got = quoted(rollout.trace_correlation_id)
            raise RolloutFailed("protocol", f"The task app answered for rollout {got}, not for {correlation_id}.")
        if rollout.success_status != "success":
            failure = rollout.failure()
            raise RolloutFailed(failure.kind, failure.message, rollout)
        if rollout.reward_info.outcome_reward is None:
            raise RolloutFailed("protocol", "The task app's answer is invalid: it says success but has no reward.")
        return rollout

    def _refusal(self, reply: _Reply) -> str:
        remedy = {
            401: "Its API key and the one sent differ: start the task app anew.",
            403: "Its API key and the one sent differ: start the task app anew.",
            404: "Check that the URL is a task app's and that it knows this benchmark.",
        }.get(reply.status, "Correct the run's parameters.")
        said = f"{_detail(reply).rstrip('.')}."
        return f"The task app {self._http.base_url} refused the rollout with {reply.status}: {said} {remedy}"


def _detail(reply: _Reply) -> str:
    """The task app's own words: its errors are `{"detail": "..."}`."""
    try:
        return quoted(str(json.loads(reply.text)["detail"]))
    except (ValueError, TypeError, KeyError):
        return quoted(reply.text) or "(no message)"


@asynccontextmanager
async def connect(
    url: str, api_key: SecretStr, headers: Mapping[str, SecretStr], patience: Patience
) -> AsyncIterator[TaskAppClient]:
    """A client for the task app at `url`; nothing is sent yet."""
    sent = {name: value.get_secret_value() for name, value in headers.items()}
    http = httpx.AsyncClient(
        base_url=url,
        headers=sent | {"X-API-Key": api_key.get_secret_value()},
        timeout=httpx.Timeout(patience.long_poll + 15, connect=10),
        # Less than the 5 s after which uvicorn closes an idle connection, perhaps just as a call goes out on it.
        limits=httpx.Limits(keepalive_expiry=2),
        # A proxy of this environment can't reach a loopback address.
        mounts={f"all://{host}": None for host in LOOPBACK},
        verify=tls_context(),
    )
    async with http:
        yield TaskAppClient(http, (api_key, *headers.values()), patience)
