"""The toolbox daemon of one sandbox, as a process that the emulator starts, talks to and stops."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from . import egress
from .isolation import SANDBOX_RUN, Cell, Isolation
from .toolbox.ports import EGRESS_PORT

START_SECONDS = 30
TOOLBOX_SOCKET, EGRESS_SOCKET = "toolbox.sock", "egress.sock"
LAUNCH = f"import sys; sys.path.insert(0, '{SANDBOX_RUN}-lib'); from toolbox.__main__ import main; main()"

INHERITED = (
    *("CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CURL_CA_", "LANG", "LC_", "NODE_EXTRA_CA", "NPM_CONFIG_"),
    *("PIP_", "REQUESTS_CA_", "SSL_CERT_", "UV_"),
)
"""Prefixes of the machine's variables that a sandbox gets too: where packages come from, and whom to trust."""


class BootFailed(RuntimeError):
    """The sandbox's daemon did not come up; the message holds the end of what it said."""


class Daemon:
    """A running toolbox daemon. client: speaks to it; socket: the path of its unix socket, for WebSockets."""

    def __init__(self, process: asyncio.subprocess.Process, socket: str, proxy: asyncio.Server | None) -> None:
        transport = httpx.AsyncHTTPTransport(uds=socket)
        self.client = httpx.AsyncClient(transport=transport, base_url="http://toolbox", timeout=None, trust_env=False)
        self.socket = socket
        self._process = process
        self._proxy = proxy

    @classmethod
    async def start(
        cls, isolation: Isolation, cell: Cell, environment: Mapping[str, str], workdir: str, online: bool
    ) -> Daemon:
        """Boot the cell and return when its daemon accepts requests; BootFailed or IsolationUnavailable if it can't."""
        command = [sys.executable, "-c", LAUNCH, "--socket", f"{SANDBOX_RUN}/{TOOLBOX_SOCKET}"]
        command += ["--workdir", workdir or isolation.home]
        if online:
            command += ["--egress", f"{SANDBOX_RUN}/{EGRESS_SOCKET}"]
        argv = isolation.argv(cell, command)
        proxy = await egress.serve(cell.shared / EGRESS_SOCKET) if online else None
        log = cell.directory / "daemon.log"
        process = await _spawn(argv, {**base_environment(isolation, online), **environment}, log)
        daemon = cls(process, str(cell.shared / TOOLBOX_SOCKET), proxy)
        try:
            if not await daemon._is_ready():
                said = log.read_text(errors="replace")[-500:].strip()
                raise BootFailed(f"the sandbox's daemon did not start: {said}")
        except BaseException:  # a cancellation too: no process may outlive it
            await daemon.stop()
            raise
        return daemon

    async def stop(self) -> None:
        """End every process of the sandbox; returns when they are gone."""
        await self.client.aclose()
        if self._process.returncode is None:
            self._process.terminate()
        assert self._process.stdout
        await self._process.stdout.read()  # its end means that the last holder, the daemon itself, has gone
        await self._process.wait()
        if self._proxy:
            self._proxy.close()

    async def _is_ready(self) -> bool:
        assert self._process.stdout
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), START_SECONDS)
        except TimeoutError:
            return False
        return line.strip() == b"ready"


async def _spawn(argv: list[str], environment: Mapping[str, str], log: Path) -> asyncio.subprocess.Process:
    with log.open("wb") as stderr:
        return await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env=environment,
            start_new_session=True,
        )


def base_environment(isolation: Isolation, online: bool) -> dict[str, str]:
    """What every command in a sandbox finds: the machine's tools, its package indexes, and the way out to them."""
    environment = {name: value for name, value in os.environ.items() if name.startswith(INHERITED)}
    home = Path(os.environ.get("HOME", "/root"))
    environment |= {"HOME": isolation.home, "PATH": _search_path(), "SHELL": "/bin/bash", "USER": "root"}
    environment |= {"RUSTUP_HOME": os.environ.get("RUSTUP_HOME", str(home / ".rustup"))}
    # Installing beside the system's packages is what one does in a container's Python.
    environment |= {"PIP_BREAK_SYSTEM_PACKAGES": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    if online:
        proxy = f"http://127.0.0.1:{EGRESS_PORT}"
        for name in ("HTTP_PROXY", "HTTPS_PROXY"):
            environment |= {name: proxy, name.lower(): proxy}
        local = "localhost,127.0.0.1,::1"
        environment |= {"NO_PROXY": local, "no_proxy": local}
    return environment


def _search_path() -> str:
    """The machine's PATH, with this interpreter's own installation first and its virtual environment left out."""
    entries = os.environ.get("PATH", os.defpath).split(os.pathsep)
    virtual = (
        {str(Path(sys.prefix, "bin")), str(Path(sys.executable).parent)} if sys.prefix != sys.base_prefix else set()
    )
    own = str(Path(sys.base_prefix, "bin"))
    return os.pathsep.join(dict.fromkeys([own, *(entry for entry in entries if entry not in virtual)]))
