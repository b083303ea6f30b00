"""An eval job of Synth's protocol: synth-ai's EvalJob starts and cancels it, behind a guard; we ask how it is.

What importing EvalJob and using its loops does to a process, and why neither is wanted: its import replaces sys.stdout
and sys.stderr; without an explicit task app key it mints one, writes it to the home folder and contacts the hosted
service; its polling swallows every error. Each of its calls makes a TLS context anew, so what is asked again and again
is asked by a client of ours. Its download of traces has no bound, so ours is in `traces.py`.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from core.errors import ConfigurationError, EngineBenchError, InfrastructureError
from core.tls import tls_context
from evals.models import EvalRequest
from evals.protocol import job_arguments
from evals.secrecy import quoted, require_sendable

T = TypeVar("T")

RETRIED_STATUS = frozenset({408, 425, 429})
_STATUS = re.compile(r"failed with status (\d{3})\b")


class EvalServiceUnavailable(InfrastructureError):
    """The eval service did not answer, or not now; the same call may work later."""


class SynthJob:
    """One eval job, one call at a time. Every call raises EvalServiceUnavailable where a later try may work."""

    def __init__(self, url: str, api_key: SecretStr, request: EvalRequest, job_id: str | None = None) -> None:
        self._url = url
        self._api_key = api_key
        self._secrets = (api_key, request.task_app_api_key, *request.task_app_headers.values())
        require_sendable("The eval service's key", api_key)
        # without one, EvalJobConfig would mint it, write it to the home folder and upload it
        require_sendable("The task app's key", request.task_app_api_key)
        _require_direct_way(url)
        eval_job, eval_job_config = _import_eval_job()
        config = eval_job_config(backend_url=url, api_key=api_key.get_secret_value(), **job_arguments(request))
        self._job = eval_job(config, job_id=job_id)

    @property
    def id(self) -> str:
        """Known once submitted."""
        return str(self._job.job_id)

    async def submit(self) -> str:
        """Start the job and return its id. Not retried: the call has no idempotency key."""
        await self._call("submit the job", self._job.submit)
        return self.id

    async def status(self) -> dict[str, Any]:
        return await self._read("read the job's status", "")

    async def results(self) -> dict[str, Any]:
        return await self._read("read the job's results", "/results")

    async def cancel(self, reason: str) -> None:
        await self._call("cancel the job", lambda: self._job.cancel(reason=reason))

    async def _read(self, what: str, part: str) -> dict[str, Any]:
        try:
            async with client(self._api_key) as http:
                reply = await http.get(f"{job_address(self._url, self.id)}{part}")
            answer = reply.raise_for_status().json()
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            raise self._error(what, status, f"status {status}: {error.response.text}") from None
        except (httpx.HTTPError, ValueError) as error:
            raise self._error(what, None, f"{type(error).__name__}: {error}") from None
        if not isinstance(answer, dict):
            raise EvalServiceUnavailable(f"The eval service {self._url} sent no object but a {type(answer).__name__}.")
        return answer

    async def _call(self, what: str, call: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(call)
        except httpx.HTTPStatusError as error:
            raise self._error(what, error.response.status_code, error.response.text) from None
        except (httpx.HTTPError, ValueError) as error:
            raise self._error(what, None, f"{type(error).__name__}: {error}") from None
        except RuntimeError as error:
            # EvalJob tells the status in its message alone
            found = _STATUS.search(str(error))
            raise self._error(what, int(found[1]) if found else None, str(error)) from None

    def _error(self, what: str, status: int | None, message: str) -> EngineBenchError:
        # never chained: what EvalJob raises may quote the request, keys and all
        return service_error(self._url, what, status, quoted(message, self._secrets))


def job_address(url: str, job_id: str) -> str:
    """Of a job at the eval service at `url`, which may end in /api or not."""
    return f"{url.rstrip('/').removesuffix('/api')}/api/eval/jobs/{job_id}"


def client(api_key: SecretStr, timeout: float = 30) -> httpx.AsyncClient:
    """For what EvalJob does not do well."""
    headers = {"Authorization": f"Bearer {api_key.get_secret_value()}"}
    return httpx.AsyncClient(headers=headers, timeout=timeout, verify=tls_context())


def service_error(url: str, what: str, status: int | None, message: str) -> EngineBenchError:
    """What a failed call means. `status` None: there was no answer, or none that could be read."""
    said = f"Could not {what} at the eval service {url}: {message}."
    if status is None or status >= 500 or status in RETRIED_STATUS:
        return EvalServiceUnavailable(f"{said} Check that it runs and is reachable, then run again.")
    if status in (401, 403):
        return ConfigurationError(f"{said} It refuses the key: set SYNTH_API_KEY to one of that service.")
    if status == 404 and what != "submit the job":
        return InfrastructureError(f"{said} It does not know this job any more: run again to start a new one.")
    if status == 404:
        return ConfigurationError(
            f"{said} There is no eval service at this address: correct or unset SYNTH_BACKEND_URL."
        )
    return ConfigurationError(f"{said} Correct the run's parameters.")


def _require_direct_way(url: str) -> None:
    """EvalJob obeys the environment's proxy settings, and would hand both keys to a proxy that can't pass them on."""
    address = urlsplit(url)
    proxies = urllib.request.getproxies()
    proxied = (address.scheme in proxies or "all" in proxies) and not urllib.request.proxy_bypass(
        address.hostname or ""
    )
    if address.hostname in ("127.0.0.1", "localhost", "::1") and proxied:
        raise ConfigurationError(
            f"The proxy settings of the environment apply to {url}, which only this machine reaches. "
            "Exclude it: export NO_PROXY=127.0.0.1,localhost"
        )


_importing = threading.Lock()


def _import_eval_job() -> tuple[Any, Any]:
    with _importing, _process_unchanged():
        from synth_ai.sdk.eval import EvalJob, EvalJobConfig  # noqa: PLC0415
    return EvalJob, EvalJobConfig


@contextlib.contextmanager
def _process_unchanged() -> Iterator[None]:
    """Undo what an import does to the process: its standard streams, signal handlers and environment."""
    streams, environment = (sys.stdout, sys.stderr), dict(os.environ)
    in_main_thread = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
        for number, handler in handlers.items():
            if in_main_thread and handler is not None:
                signal.signal(number, handler)
