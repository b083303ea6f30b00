"""What the real SDK does with a sandbox and a snapshot in their whole lives: every operation of the wire map."""

from __future__ import annotations

import asyncio

import httpx
from daytona import (
    AsyncDaytona,
    AsyncSandbox,
    CreateSandboxFromImageParams,
    CreateSandboxFromSnapshotParams,
    CreateSnapshotParams,
    FileDownloadRequest,
    FileUpload,
    Image,
    Resources,
    SessionExecuteRequest,
)
from daytona.common.sandbox import ListSandboxesQuery

SERVER = "python3 -u -m http.server 8000"
TOKEN_HEADER = "X-Daytona-Preview-Token"


async def live(sdk: AsyncDaytona) -> None:
    """Create, use and delete; raises where the emulator does not do what Daytona does."""
    logs: list[str] = []
    sandbox = await sdk.create(
        CreateSandboxFromImageParams(
            image=Image.base("python:3.11-slim").run_commands("echo built"),
            name="a-life",
            labels={"app": "scenario"},
            resources=Resources(cpu=2, memory=2, disk=5),
            env_vars={"COLOUR": "green"},
            ttl_minutes=60,
            auto_stop_interval=30,
        ),
        on_snapshot_create_logs=logs.append,
    )
    assert any("built" in line for line in logs)
    await use_files(sandbox)
    await use_processes(sandbox)
    await use_previews(sandbox)
    await change_settings(sandbox)
    found = [each.name async for each in sdk.list(ListSandboxesQuery(labels={"app": "scenario"}))]
    assert found == ["a-life"]
    await sandbox.stop()
    await sandbox.start()
    await sandbox.delete(wait=True)
    await use_snapshot(sdk)


async def use_files(sandbox: AsyncSandbox) -> None:
    big = b"x" * 3_000_000
    files = [FileUpload(source=b"hello", destination="/app/index.txt"), FileUpload(source=big, destination="/app/big")]
    await sandbox.fs.upload_files(files)
    await sandbox.fs.create_folder("/app/folder", "755")
    assert sorted(file.name for file in await sandbox.fs.list_files("/app")) == ["big", "folder", "index.txt"]
    assert (await sandbox.fs.get_file_info("/app/big")).size == len(big)
    assert await sandbox.fs.download_file("/app/index.txt") == b"hello"
    requests = [FileDownloadRequest(source="/app/big"), FileDownloadRequest(source="/app/missing")]
    there, missing = await sandbox.fs.download_files(requests)
    assert there.result == big
    assert missing.error
    await sandbox.fs.delete_file("/app/folder", recursive=True)
    assert await sandbox.get_user_home_dir()
    assert await sandbox.get_work_dir()


async def use_processes(sandbox: AsyncSandbox) -> None:
    done = await sandbox.process.exec('echo "$COLOUR $SHAPE in $PWD"; exit 3', cwd="/app", env={"SHAPE": "square"})
    assert (done.exit_code, done.result) == (3, "green square in /app\n")
    await sandbox.process.create_session("shell")
    await sandbox.process.execute_session_command("shell", SessionExecuteRequest(command="cd /app; NUMBER=7"))
    said = await sandbox.process.execute_session_command(
        "shell", SessionExecuteRequest(command="echo $PWD $NUMBER; echo oops >&2")
    )
    assert (said.exit_code, said.stdout, said.stderr) == (0, "/app 7\n", "oops\n")
    assert [session.session_id for session in await sandbox.process.list_sessions()] == ["shell"]
    await sandbox.process.delete_session("shell")


async def use_previews(sandbox: AsyncSandbox) -> None:
    command = await serve_app(sandbox)
    assert (await sandbox.process.get_session_command("server", command)).exit_code is None
    assert "Serving HTTP" in ((await sandbox.process.get_session_command_logs("server", command)).stdout or "")
    link = await sandbox.get_preview_link(8000)
    signed = await sandbox.create_signed_preview_url(8000, expires_in_seconds=60)
    async with httpx.AsyncClient(headers={TOKEN_HEADER: link.token}) as browser:
        assert (await browser.get(f"{link.url}/index.txt")).text == "hello"
    async with httpx.AsyncClient() as browser:
        assert (await browser.get(f"{signed.url}/index.txt")).text == "hello"
        await sandbox.expire_signed_preview_url(8000, signed.token)
        assert (await browser.get(f"{signed.url}/index.txt")).status_code == 401


async def serve_app(sandbox: AsyncSandbox, server: str = SERVER) -> str:
    """Start a web server in /app on port 8000; returns its command id once it says that it is `Serving HTTP`."""
    await sandbox.process.create_session("server")
    request = SessionExecuteRequest(command=f"mkdir -p /app && cd /app && exec {server}", run_async=True)
    command = (await sandbox.process.execute_session_command("server", request)).cmd_id
    await wait_for_output(sandbox, "server", command, "Serving HTTP")
    return command


async def wait_for_output(sandbox: AsyncSandbox, session: str, command: str, wanted: str) -> None:
    """Follow the command's log over its WebSocket until it says what is wanted."""
    said: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def note(text: str) -> None:
        if wanted in text and not said.done():
            said.set_result(None)

    following = asyncio.create_task(
        sandbox.process.get_session_command_logs_async(session, command, note, lambda text: None)
    )
    await said
    following.cancel()


async def change_settings(sandbox: AsyncSandbox) -> None:
    await sandbox.refresh_activity()
    await sandbox.set_autostop_interval(20)
    await sandbox.set_auto_delete_interval(40)
    await sandbox.set_auto_archive_interval(50)
    await sandbox.set_ttl(90)
    await sandbox.set_labels({"app": "scenario", "lane": "0"})
    await sandbox.refresh_data()
    assert (sandbox.auto_stop_interval, sandbox.auto_delete_interval) == (20, 40)
    assert sandbox.labels["lane"] == "0"


async def use_snapshot(sdk: AsyncDaytona) -> None:
    logs: list[str] = []
    steps = ["mkdir -p /opt/tool && echo 42 > /opt/tool/answer", "python3 -m venv /app/venv"]
    image = Image.base("python:3.11-slim").run_commands(*steps).env({"TASTE": "sweet"}).workdir("/app")
    snapshot = await sdk.snapshot.create(CreateSnapshotParams(name="with-a-tool", image=image), on_logs=logs.append)
    assert any("venv /app/venv" in line for line in logs)
    assert (await sdk.snapshot.get("with-a-tool")).id == snapshot.id
    assert "with-a-tool" in [each.name for each in (await sdk.snapshot.list()).items]
    sandbox = await sdk.create(CreateSandboxFromSnapshotParams(name="from-snapshot", snapshot="with-a-tool"))
    done = await sandbox.process.exec("cat /opt/tool/answer; test -x venv/bin/python && echo $TASTE; pwd")
    assert done.result == "42\nsweet\n/app\n"
    await sandbox.delete(wait=True)
    await sdk.snapshot.delete(snapshot)
