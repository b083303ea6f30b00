"""A task app that somebody else runs: used as it is, so most verbs have nothing to do."""

import asyncio
from collections.abc import Mapping, Sequence

import httpx
from pydantic import SecretStr, ValidationError

from core.errors import InfrastructureError
from core.tls import tls_context
from sandboxes.base import Backend, Endpoint, Sandbox, SandboxRecord, SandboxSpec
from sandboxes.bundle import Bundle
from sandboxes.health import Answer, wait_until_healthy


class RunningTaskApp(Backend):
    """The backend of the task app at one URL."""

    name = "running"

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")

    async def provision(self, spec: SandboxSpec) -> Sandbox:
        return Sandbox(backend=self.name, name=spec.name, id=self._url, workdir="/", url=self._url)

    async def upload(self, sandbox: Sandbox, bundle: Bundle) -> None:
        """Nothing: it has its own benchmark."""

    async def install(self, sandbox: Sandbox, tools: tuple[str, ...]) -> None:
        """Nothing: it has its own tools."""

    async def start(self, sandbox: Sandbox, environment: Mapping[str, SecretStr]) -> Sandbox:
        """Nothing: it runs."""
        return sandbox

    async def health(self, sandbox: Sandbox, nonce: str, timeout: float) -> None:
        """Whatever nonce it has is the right one."""
        endpoint = await self.endpoint(sandbox)
        its_own = await _nonce(endpoint, timeout)
        for_ever: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        await wait_until_healthy(endpoint, its_own, timeout, died=for_ever, log=_no_log, trust_env=True)

    async def endpoint(self, sandbox: Sandbox, public_for: int | None = None) -> Endpoint:
        return Endpoint(url=self._url)

    async def log(self, sandbox: Sandbox, lines: int = 50) -> str:
        return await _no_log()

    async def cleanup(self, spec: SandboxSpec) -> None:
        """Nothing: who started it stops it."""

    async def list(self) -> Sequence[SandboxRecord]:
        """None: it is not ours to sweep."""
        return ()


async def _no_log() -> str:
    return ""


async def _nonce(endpoint: Endpoint, timeout: float) -> str:
    try:
        async with httpx.AsyncClient(timeout=timeout, verify=tls_context()) as client:
            reply = await client.get(f"{endpoint.url}/health")
            return Answer.model_validate_json(reply.content).nonce
    except httpx.HTTPError as error:
        raise InfrastructureError(
            f"No task app answers at {endpoint.url} ({type(error).__name__}). Start it, or correct --task-app-url."
        ) from error
    except ValidationError:
        raise InfrastructureError(
            f"What answers at {endpoint.url} is no task app: its /health is not that of one. Correct --task-app-url."
        ) from None
