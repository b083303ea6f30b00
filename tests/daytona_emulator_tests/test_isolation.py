"""What a sandbox sees, what it doesn't, and what is left when its emulator dies."""

from __future__ import annotations

import asyncio
import os
import signal
import socketserver
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped, unused-ignore]
import pytest
from daytona import AsyncDaytona, AsyncSandbox, CreateSandboxFromSnapshotParams, DaytonaError, SessionExecuteRequest

from tests.daytona_emulator import Emulator, emulator
from tests.daytona_emulator.client import IsolationRefused
from tests.daytona_emulator.isolation import CHECKOUT, ONE_USER, IsolationName
from tests.daytona_emulator_tests.conftest import emulator_or_skip, eventually, sdk_for
from tests.daytona_emulator_tests.scenario import TOKEN_HEADER, serve_app

CONFINED: list[IsolationName] = ["namespace", "bwrap"]


def on_machine(pattern: str) -> list[str]:
    return glob(pattern)


async def create(sdk: AsyncDaytona, name: str, **options: object) -> AsyncSandbox:
    return await sdk.create(CreateSandboxFromSnapshotParams.model_validate({"name": name, **options}))


async def output(sandbox: AsyncSandbox, command: str) -> str:
    done = await sandbox.process.exec(command)
    assert done.exit_code == 0, done.result
    return done.result.strip()


@pytest.mark.parametrize("isolation", CONFINED)
async def test_two_sandboxes_have_their_own_app_and_port(isolation: IsolationName) -> None:
    async with emulator_or_skip(isolation) as emu, sdk_for(emu) as sdk:
        for name in ("one", "two"):
            sandbox = await create(sdk, name)
            await sandbox.fs.upload_file(name.encode(), "/app/name")
            await serve_app(sandbox)
        assert not on_machine("/app/name")
        for name in ("one", "two"):
            link = await (await sdk.get(name)).get_preview_link(8000)
            async with httpx.AsyncClient(headers={TOKEN_HEADER: link.token}) as browser:
                assert (await browser.get(f"{link.url}/name")).text == name


@pytest.mark.parametrize("isolation", CONFINED)
async def test_sandbox_has_the_tools_of_the_machine_but_not_the_checkout(isolation: IsolationName) -> None:
    async with emulator_or_skip(isolation) as emu, sdk_for(emu) as sdk:
        sandbox = await create(sdk, "tools")
        assert await output(sandbox, "python3 -c 'print(6 * 7)'") == "42"
        assert await output(sandbox, f"{sys.executable} -c 'import sys; print(sys.prefix)'") == sys.prefix
        assert (await output(sandbox, "python3 -m pip --version")).startswith("pip ")
        assert (await output(sandbox, "cargo --version")).startswith("cargo ")
        assert await output(sandbox, "cd /app && cargo new --quiet --vcs none hello && cd hello && cargo run --quiet")
        assert await output(sandbox, "python3 -m venv --without-pip /app/venv && echo made") == "made"
        assert await output(sandbox, f"test ! -e {CHECKOUT}/pyproject.toml && ls /tmp /app/venv/bin | grep -c python3")


def skip_without_copy_on_write(emu: Emulator) -> None:
    if emu.isolation != "namespace":
        pytest.skip(f"isolation {emu.isolation} has no copy-on-write view: {'; '.join(emu.limits)}")


async def test_what_a_sandbox_writes_stays_in_it_and_survives_a_stop(emu: Emulator, sdk: AsyncDaytona) -> None:
    skip_without_copy_on_write(emu)
    sandbox = await create(sdk, "writer")
    name = f"of-sandbox-{sandbox.id}"
    await output(sandbox, f"mkdir /new && echo mine > ~/{name} && ls /app")
    assert not on_machine(f"{Path.home()}/{name}")
    await sandbox.stop()
    await sandbox.start()
    assert await output(sandbox, f"cat ~/{name}; ls -d /new") == "mine\n/new"


async def test_what_a_sandbox_deletes_is_gone_for_it_alone(emu: Emulator, sdk: AsyncDaytona) -> None:
    skip_without_copy_on_write(emu)
    if ONE_USER in emu.limits:
        pytest.skip(f"the machine's directories belong to others: {ONE_USER}")
    sandbox = await create(sdk, "deleter")
    await output(sandbox, "rm -r /var/log && mkdir /var/log")
    assert on_machine("/var/log/*")
    await sandbox.stop()
    await sandbox.start()
    assert await output(sandbox, "ls -A /var/log") == ""


async def test_orphans_are_reaped(sdk: AsyncDaytona) -> None:
    sandbox = await create(sdk, "orphans")
    await output(sandbox, "(sh -c 'exit 0' & ) ; true")
    states = await output(sandbox, "cat /proc/[0-9]*/stat | cut -d' ' -f3 | sort -u")
    assert "Z" not in states.split()


class _Greeter(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"{self.command} {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return


@contextmanager
def machine_service() -> Iterator[int]:
    """A web server on the machine's loopback; gives its port."""
    with HTTPServer(("127.0.0.1", 0), _Greeter) as server:
        thread = threading.Thread(target=socketserver.BaseServer.serve_forever, args=(server, 0.05))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


FETCH = """
import http.client, os, sys, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["HTTPS_PROXY"])
tunnel = http.client.HTTPConnection(proxy.hostname, proxy.port)
tunnel.set_tunnel("127.0.0.1", int(sys.argv[1]))
tunnel.request("GET", "/tunnel")
print(tunnel.getresponse().read().decode())
plain = http.client.HTTPConnection(proxy.hostname, proxy.port)
plain.request("GET", f"http://127.0.0.1:{sys.argv[1]}/plain?q=1")
print(plain.getresponse().read().decode())
"""


async def test_sandbox_reaches_the_network_through_the_proxy_alone(sdk: AsyncDaytona) -> None:
    sandbox = await create(sdk, "online")
    await sandbox.fs.upload_file(FETCH.encode(), "/app/fetch.py")
    with machine_service() as port:
        said = await output(sandbox, f"python3 /app/fetch.py {port}")
        direct = await sandbox.process.exec(
            f"python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", {port}))'"
        )
    assert said == "GET /tunnel\nGET /plain?q=1"
    assert "Connection refused" in direct.result


async def test_blocked_network_has_no_proxy(sdk: AsyncDaytona) -> None:
    sandbox = await create(sdk, "offline", network_block_all=True)
    assert await output(sandbox, "env | grep -ci proxy || true") == "0"


def left_behind(before: set[str]) -> set[str]:
    return places() - before


def places() -> set[str]:
    """Mounts, and directories where the emulator could leave something."""
    mounts = {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    directories = [
        Path(each) for each in (tempfile.gettempdir(), "/mnt", "/media", "/srv", "/run") if Path(each).is_dir()
    ]
    mine = {str(entry) for each in directories for entry in each.iterdir() if "emulator" in entry.name}
    return mounts | mine


async def gone(processes: list[psutil.Process]) -> bool:
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, 10)
    return not alive


@pytest.mark.parametrize("isolation", CONFINED)
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda each: each.name)
async def test_killed_emulator_leaves_nothing_behind(isolation: IsolationName, ending: signal.Signals) -> None:
    before = places()
    async with emulator_or_skip(isolation) as emu:
        async with sdk_for(emu) as sdk:
            sandbox = await create(sdk, "doomed")
            await sandbox.process.create_session("server")
            await sandbox.process.execute_session_command(
                "server", SessionExecuteRequest(command="setsid sleep 1000 & sleep 1000", run_async=True)
            )
        processes = psutil.Process(emu.pid).children(recursive=True)
        assert sum(process.name() == "sleep" for process in processes) >= 1
        os.kill(emu.pid, ending)
        assert await gone([psutil.Process(emu.pid), *processes] if psutil.pid_exists(emu.pid) else processes)
    assert left_behind(before) == set()


async def test_reset_in_the_middle_of_a_boot_leaves_no_process(emu: Emulator, sdk: AsyncDaytona) -> None:
    boots = [asyncio.create_task(create(sdk, f"s{number}")) for number in range(3)]
    await eventually(has_sandboxes, emu)
    await emu.reset()
    assert psutil.Process(emu.pid).children(recursive=True) == []
    await asyncio.gather(*boots, return_exceptions=True)


async def has_sandboxes(emu: Emulator) -> bool:
    return len(await emu.sandboxes()) == 3


async def test_without_isolation_it_says_what_it_cannot_do() -> None:
    async with emulator(isolation="none") as emu, sdk_for(emu) as sdk:
        assert "only the control plane works" in emu.limits[0]
        sandbox = await create(sdk, "bodiless")
        with pytest.raises(DaytonaError, match="isolation none"):
            await sandbox.process.exec("true")
        await sandbox.delete(wait=True)
        assert await emu.sandboxes() == []


async def test_unavailable_isolation_is_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(IsolationRefused, match="bwrap command is not installed"):
        async with emulator(isolation="bwrap"):
            raise AssertionError("it started")
