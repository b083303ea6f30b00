"""What the SDK raises, in our words: whose fault it is, whether to try again, and what to do.

The SDK's own exceptions carry response headers and URLs, so ours never chain to them.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from daytona import DaytonaConnectionError, DaytonaError, DaytonaTimeoutError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_before_delay, wait_random_exponential

from core.errors import ConfigurationError, EngineBenchError, InfrastructureError
from core.redaction import redact
from sandboxes.daytona.patience import Patience

DASHBOARD = "https://app.daytona.io/dashboard"
KEY_REQUIRED = (
    "DAYTONA_API_KEY environment variable required. "
    f"Create a key at {DASHBOARD}/keys, then `export DAYTONA_API_KEY=...`, or save a DaytonaCredentials block."
)

_DAEMON = "DAYTONA_DAEMON"
_QUOTA = ("limit exceeded", "limit reached", "quota")
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0

logger = logging.getLogger(__name__)

T = TypeVar("T")


async def persistently(doing: str, call: Callable[[], Awaitable[T]], patience: float = Patience.call) -> T:
    """The call's answer; what is passing is tried again for so many seconds. `doing` completes "Daytona failed to".

    Raises:
        DaytonaError: as it is, for a caller to whom a refusal (404, 409) may be an answer.
    """
    retrying = AsyncRetrying(
        retry=retry_if_exception(is_passing),
        wait=partial(_pause, patience),
        # A wait that Daytona asks for may be longer than we have.
        stop=stop_before_delay(patience),
        before_sleep=lambda attempt: logger.info("Daytona failed to %s, trying again: %s", doing, _reason(attempt)),
        reraise=True,
    )

    async def attempt() -> T:
        return await call()

    return await retrying(attempt)


async def explaining(doing: str, call: Callable[[], Awaitable[T]], patience: float = Patience.call) -> T:
    """Like `persistently`, with every error in our words."""
    try:
        return await persistently(doing, call, patience)
    except DaytonaError as error:
        raise explained(error, doing) from None


def explained(error: DaytonaError, doing: str) -> EngineBenchError:
    """The same in our words. `doing` completes "Daytona failed to"."""
    message = redact(str(error)).rstrip(".") or type(error).__name__
    if text := _refusal(error, message, doing):
        return ConfigurationError(text)
    return InfrastructureError(_failure(error, message, doing))


def _refusal(error: DaytonaError, message: str, doing: str) -> str | None:
    """What the same call would get again and again."""
    if error.status_code == 401:
        return f"Daytona refused the API key. Check DAYTONA_API_KEY, or create another key at {DASHBOARD}/keys."
    if error.status_code == 403:
        return (
            f"Daytona does not let this API key {doing}: {message}. "
            f"Give the key that permission, or create another one, at {DASHBOARD}/keys."
        )
    if error.status_code in {400, 404} and "region" in message.lower():
        return f"{message}. Set DAYTONA_TARGET to a region of your account, e.g. `us` or `eu`."
    if error.status_code == 404 and "snapshot" in message.lower():
        return f"{message}. `engine-bench snapshot list` shows what there is; `--snapshot auto` builds one."
    if error.status_code == 400 and not is_quota(error) and "failed to start" not in message:
        return f"Daytona refused to {doing}: {message}."
    return None


def _failure(error: DaytonaError, message: str, doing: str) -> str:
    """What may be different next time."""
    if is_quota(error):
        return (
            f"Daytona's quota is exhausted: {message}. Run fewer sandboxes at a time, remove those that idle, or raise "
            f"the limit at {DASHBOARD}/limits."
        )
    if error.status_code == 429:
        return f"Daytona's rate limit held while trying to {doing}. Wait a minute, and run it again."
    if is_unreachable(error):
        return f"Daytona can't be reached to {doing}: {message}. Check the network, and DAYTONA_API_URL."
    if is_timeout(error):
        return f"Daytona took too long to {doing}: {message}. Run it again."
    status = f" (HTTP {error.status_code})" if error.status_code else ""
    return f"Daytona failed to {doing}: {message}{status}. Run it again."


def is_passing(error: BaseException) -> bool:
    """Whether the same call may well succeed in a moment."""
    return isinstance(error, DaytonaError) and (error.status_code in {429, 500, 502, 503, 504} or is_unreachable(error))


def is_unreachable(error: DaytonaError) -> bool:
    """No answer came. Some paths of the SDK raise its base class for that, and only the cause tells."""
    return error.status_code is None and (
        isinstance(error, DaytonaConnectionError) or isinstance(error.__cause__, OSError | ConnectionError)
    )


def is_timeout(error: DaytonaError) -> bool:
    return isinstance(error, DaytonaTimeoutError) or error.status_code in {408, 504}


def is_quota(error: DaytonaError) -> bool:
    """Quotas are refused with 400, and only the message tells."""
    return error.status_code == 400 and any(word in str(error).lower() for word in _QUOTA)


def is_gone(error: DaytonaError) -> bool:
    """Whether it is the sandbox (or the snapshot) that is not there, and not a file or a session inside."""
    return error.status_code == 404 and error.source != _DAEMON


def retry_after(error: BaseException) -> float | None:
    """Seconds that Daytona asks to wait; its header ends with the throttler's name (`Retry-After-<throttler>`)."""
    headers = error.headers if isinstance(error, DaytonaError) else {}
    waits = [str(value) for name, value in headers.items() if name.lower().startswith("retry-after")]
    return max((float(wait) for wait in waits if wait.replace(".", "", 1).isdigit()), default=None)


async def patiently(pause: float, deadline: float) -> bool:
    """Sleep, unless that would pass the deadline (by the event loop's clock): then False, at once."""
    if asyncio.get_running_loop().time() + pause > deadline:
        return False
    await asyncio.sleep(pause)
    return True


_backoff = wait_random_exponential(multiplier=0.25, max=_LONGEST_PAUSE)


def _pause(patience: float, attempt: RetryCallState) -> float:
    """What Daytona asks for, else a random pause; at most half of what is left, so that the last try comes late."""
    error = attempt.outcome.exception() if attempt.outcome else None
    left = patience - (attempt.seconds_since_start or 0)
    return (error and retry_after(error)) or min(_backoff(attempt), max(left / 2, _SHORTEST_PAUSE))


def _reason(attempt: RetryCallState) -> str:
    return redact(str(attempt.outcome.exception())) if attempt.outcome else ""
