"""The local backend: a sandbox is a private directory, and the task app a process group on loopback.

It keeps runs apart and clean; it is no security boundary. Agents that this machine should not see belong in Daytona.
"""

import asyncio
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

from pydantic import SecretStr

from core.errors import ConfigurationError, InfrastructureError
from core.settings import Settings
from sandboxes.base import Backend, Endpoint, Machine, Sandbox, SandboxRecord, SandboxSpec, env_file
from sandboxes.bundle import Bundle
from sandboxes.health import wait_until_healthy
from sandboxes.local_dir import Ownership, SandboxDir, Server, explained
from sandboxes.local_python import make_venv, missing_requirements, venv_python
from sandboxes.processes import MARK, ProcessId

HOST = "127.0.0.1"

_PORTS_TRIED = 100

_PASSED_ON = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ"),
    *("CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
"""All that a task app inherits of this environment: where tools are found, and how the network is reached. No keys."""

_REMEDIES = {
    "cargo": "Install Rust from https://rustup.rs and try again; `--benchmark hello-world` needs none.",
}

logger = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")


class LocalBackend(Backend):
    """Sandboxes as directories below the cache directory. Objects of this class hold no state of any sandbox."""

    name = "local"

    def __init__(self, settings: Settings) -> None:
        # Resolved, as the working directories of processes are compared with it.
        self._root = settings.sandboxes_dir.expanduser().resolve()
        self._own_venv = settings.local_venv

    async def prepare(self, machine: Machine, bundle: Bundle, tools: tuple[str, ...]) -> Machine:
        """Clear away what runs have left whose process was killed: where no sweep is scheduled, nobody else would."""
        for record in await self.list():
            if record.owner_alive is False:
                logger.info("Removing %s: the process of its run is gone.", record.spec.name)
                try:
                    await self.cleanup(record.spec)
                except InfrastructureError as error:
                    logger.warning("%s", error)
        return machine

    async def provision(self, spec: SandboxSpec) -> Sandbox:
        await _in_thread(self._provision, spec)
        folder = self._dir(spec.name)
        return Sandbox(backend=self.name, name=spec.name, id=str(folder.path), workdir=str(folder.app))

    async def upload(self, sandbox: Sandbox, bundle: Bundle) -> None:
        await _in_thread(_upload, self._dir(sandbox.name), bundle)

    async def install(self, sandbox: Sandbox, tools: tuple[str, ...]) -> None:
        folder = self._dir(sandbox.name)
        await _in_thread(self._check, folder, tools)
        if self._own_venv:
            await make_venv(folder.venv, folder.requirements)

    async def start(self, sandbox: Sandbox, environment: Mapping[str, SecretStr]) -> Sandbox:
        server = await _in_thread(self._start, self._dir(sandbox.name), environment)
        return sandbox.model_copy(update={"url": _url(server)})

    async def health(self, sandbox: Sandbox, nonce: str, timeout: float) -> None:
        folder = self._dir(sandbox.name)
        server = await _in_thread(folder.running)
        try:
            # The proxies of this environment have no business on loopback.
            await wait_until_healthy(
                Endpoint(url=_url(server)),
                nonce,
                timeout,
                died=_end(server.process),
                log=lambda: self.log(sandbox),
                trust_env=False,
            )
        except InfrastructureError:
            if not server.process.find():
                folder.forget_keys()
            raise

    async def endpoint(self, sandbox: Sandbox, public_for: int | None = None) -> Endpoint:
        return Endpoint(url=_url(await _in_thread(self._dir(sandbox.name).running)))

    async def log(self, sandbox: Sandbox, lines: int = 50) -> str:
        return await _in_thread(self._dir(sandbox.name).tail, lines)

    async def cleanup(self, spec: SandboxSpec) -> None:
        await _in_thread(_remove, self._dir(spec.name), spec)

    async def list(self) -> Sequence[SandboxRecord]:
        return await _in_thread(self._records)

    def _dir(self, name: str) -> SandboxDir:
        return SandboxDir(self._root, name)

    def _records(self) -> tuple[SandboxRecord, ...]:
        with explained("The local sandboxes can't be listed"):
            folders = [self._dir(path.name) for path in sorted(self._root.glob("*/"))]
            return tuple(record for folder in folders if (record := _record(folder)))

    def _provision(self, spec: SandboxSpec) -> None:
        folder = self._dir(spec.name)
        with explained(f"Sandbox {spec.name} can't be made"), folder.locked():
            found = folder.ownership()
            now = time.time()
            if found and found.spec.run_id != spec.run_id and not found.abandoned:
                raise ConfigurationError(
                    f"Sandbox {spec.name} belongs to flow run {found.spec.run_id}, which process {found.owner.pid} is "
                    "still running. Wait until that run ends, or stop it."
                )
            if found is None or found.spec.run_id != spec.run_id:
                folder.remove()
                found = None
            folder.own(
                Ownership(
                    spec=spec,
                    owner=ProcessId.of(os.getpid()),
                    created_at=found.created_at if found else now,
                    expires_at=now + spec.lifetime,
                )
            )

    def _check(self, folder: SandboxDir, tools: tuple[str, ...]) -> None:
        folder.uploaded()
        for tool in tools:
            tool = tool.partition("=")[0]  # noqa: PLW2901 - nothing is installed on this machine
            if shutil.which(tool) is None:
                raise ConfigurationError(
                    f"`{tool}` was not found on PATH. {_REMEDIES.get(tool, 'Install it, or add its folder to PATH.')}"
                )
        if not self._own_venv and (missing := missing_requirements(folder.requirements.with_suffix(".in"))):
            raise ConfigurationError(
                f"{sys.executable} can't run the task app: {'; '.join(missing)}. "
                "Set ENGINE_BENCH_LOCAL_VENV=1 to give each sandbox an environment of its own."
            )

    def _python(self, folder: SandboxDir) -> Path:
        return venv_python(folder.venv) if self._own_venv else Path(sys.executable)

    def _start(self, folder: SandboxDir, environment: Mapping[str, SecretStr]) -> Server:
        variables = env_file(environment)
        folder.uploaded()
        if not self._python(folder).exists():
            raise InfrastructureError(f"Sandbox {folder.name} has no Python yet: the install has to come first.")
        with explained(f"The task app of sandbox {folder.name} can't be started"), folder.locked():
            wanted = folder.existing().spec.port
            if server := folder.server():
                return server
            # An earlier task app may have died and left agents behind.
            folder.stop()
            with _listen(wanted) as listener:
                port, digest = listener.getsockname()[1], folder.use()
                server = Server(process=self._launch(folder, listener, variables), port=port, digest=digest)
            folder.record(server)
        if server.port != wanted:
            logger.warning("Port %d is taken: sandbox %s uses port %d.", wanted, folder.name, server.port)
        return server

    def _launch(self, folder: SandboxDir, listener: socket.socket, variables: str) -> ProcessId:
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        with os.fdopen(os.open(folder.env_file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
            file.write(variables)
        try:
            folder.temporary.mkdir(exist_ok=True)
            with folder.log.open("ab") as log:
                process = subprocess.Popen(
                    [
                        self._python(folder),
                        "-m",
                        "task_app",
                        "--fd",
                        str(listener.fileno()),
                        "--env-file",
                        folder.env_file,
                    ],
                    cwd=folder.app,
                    env={
                        **passed_on,
                        MARK: str(folder.path),
                        "TMPDIR": str(folder.temporary),
                        "PYTHONUNBUFFERED": "1",
                        "PYTHONDONTWRITEBYTECODE": "1",
                    },
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(listener.fileno(),),
                    start_new_session=True,
                )
        except OSError:
            folder.env_file.unlink()
            raise
        identity = ProcessId.of(process.pid)
        # Collects its exit status whenever that comes, so that a dead task app doesn't stay as a zombie.
        threading.Thread(target=process.wait, name=f"reaper of {folder.name}", daemon=True).start()
        return identity


def _upload(folder: SandboxDir, bundle: Bundle) -> None:
    folder.existing()
    with explained(f"The upload into sandbox {folder.name} failed"), folder.locked():
        folder.existing()
        if not folder.holds(bundle.digest):
            folder.put(bundle)


def _remove(folder: SandboxDir, spec: SandboxSpec) -> None:
    with explained(f"Sandbox {spec.name} can't be removed"), folder.locked():
        found = folder.ownership()
        if found and found.spec.run_id != spec.run_id:
            logger.warning("Sandbox %s belongs to flow run %s: left alone.", spec.name, found.spec.run_id)
            return
        folder.remove()


def _record(folder: SandboxDir) -> SandboxRecord | None:
    """None for a directory that is not ours: it has no record, or that of another one."""
    found = folder.ownership()
    if found is None or found.spec.name != folder.name:
        return None
    return SandboxRecord(
        spec=found.spec,
        expires_at=datetime.fromtimestamp(found.expires_at, UTC),
        owner_alive=found.owner.find() is not None,
    )


def _url(server: Server) -> str:
    return f"http://{HOST}:{server.port}"


def _listen(wanted: int) -> socket.socket:
    """A listening socket on the wanted port, or on the next free one.

    The task app inherits the socket, so no other process can take the port between this choice and its use.
    """
    last = min(wanted + _PORTS_TRIED, 65536) - 1
    for port in range(wanted, last + 1):
        try:
            return socket.create_server((HOST, port), backlog=128)
        except PermissionError:
            raise ConfigurationError(f"Port {wanted} is reserved for the system. Choose one from 1024 on.") from None
        except OSError:
            continue
    raise ConfigurationError(f"The ports {wanted} to {last} are all taken. Choose another one with --port.")


async def _end(process: ProcessId) -> None:
    # Where the flow was resumed it is the child of another process, so there is no event to wait for.
    while process.find():  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def _in_thread(function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run blocking work off the event loop. A cancelled verb ends only when its work has: nothing goes on behind it."""
    work = asyncio.ensure_future(asyncio.to_thread(function, *args, **kwargs))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.gather(work, return_exceptions=True)
        raise
