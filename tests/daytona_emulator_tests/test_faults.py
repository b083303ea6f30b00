"""Each fault, as the SDK meets it; afterwards everything can be cleaned up."""

from __future__ import annotations

import time

import httpx
import pytest
from daytona import (
    AsyncDaytona,
    CreateSandboxFromImageParams,
    CreateSandboxFromSnapshotParams,
    CreateSnapshotParams,
    DaytonaConflictError,
    DaytonaError,
    DaytonaForbiddenError,
    DaytonaRateLimitError,
    DaytonaTimeoutError,
    Image,
    SandboxState,
    SessionExecuteRequest,
)
from daytona.common.sandbox import ListSandboxesQuery

from tests.daytona_emulator import Emulator
from tests.daytona_emulator.faults import Fault, Faults
from tests.daytona_emulator_tests.conftest import emulator_or_skip, eventually, sdk_for
from tests.daytona_emulator_tests.scenario import TOKEN_HEADER, serve_app

IMAGE = "python:3.11-slim"


def from_image(name: str) -> CreateSandboxFromImageParams:
    return CreateSandboxFromImageParams(name=name, image=IMAGE)


def from_snapshot(name: str) -> CreateSandboxFromSnapshotParams:
    return CreateSandboxFromSnapshotParams(name=name)


SHOW_HEADERS = """
from http.server import BaseHTTPRequestHandler, HTTPServer

class Show(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(self.headers).encode())

server = HTTPServer(("", 8000), Show)
print("Serving HTTP")
server.serve_forever()
"""


async def state_of(sdk: AsyncDaytona, name: str) -> str:
    return str((await sdk.get(name)).state)


async def delete_all(sdk: AsyncDaytona, emu: Emulator) -> None:
    async for sandbox in sdk.list(ListSandboxesQuery()):
        await sandbox.delete(wait=True)
    assert await emu.sandboxes() == []


async def test_failed_boot_leaves_an_errored_sandbox(emu: Emulator, sdk: AsyncDaytona) -> None:
    await emu.fault("failed_boot", message="no space on runner", times=2)
    with pytest.raises(DaytonaError, match="no space on runner"):
        await sdk.create(from_snapshot("one"))
    with pytest.raises(DaytonaError, match="no space on runner"):
        await sdk.create(from_image("two"))
    assert await state_of(sdk, "one") == await state_of(sdk, "two") == str(SandboxState.ERROR)
    await delete_all(sdk, emu)
    await sdk.create(from_snapshot("three"))


async def test_failed_build_leaves_a_sandbox_that_says_so(emu: Emulator, sdk: AsyncDaytona) -> None:
    await emu.fault("build_failed", message="no such package")
    with pytest.raises(DaytonaError, match="no such package"):
        await sdk.create(from_image("broken"))
    assert await state_of(sdk, "broken") == str(SandboxState.BUILD_FAILED)
    await delete_all(sdk, emu)


async def test_failing_step_fails_the_build_and_is_in_its_log(emu: Emulator, sdk: AsyncDaytona) -> None:
    logs: list[str] = []
    image = Image.base(IMAGE).run_commands("echo about to fail; exit 9")
    with pytest.raises(DaytonaError, match="returned a non-zero code: 9"):
        await sdk.snapshot.create(CreateSnapshotParams(name="failing", image=image), on_logs=logs.append)
    assert any("about to fail" in line for line in logs)
    assert str((await sdk.snapshot.get("failing")).state) == str(SandboxState.BUILD_FAILED).replace(
        "Sandbox", "Snapshot"
    )


async def test_create_that_times_out_from_a_snapshot_yet_succeeds(emu: Emulator, sdk: AsyncDaytona) -> None:
    await emu.fault("create_timeout", seconds=60, match="/late$")
    with pytest.raises(DaytonaTimeoutError) as caught:
        await sdk.create(from_snapshot("late"), timeout=2)
    assert caught.value.sandbox_id is None
    assert await state_of(sdk, "late") == str(SandboxState.STARTED)
    await delete_all(sdk, emu)


async def test_slow_boot_times_out_with_the_id_on_the_image_path(emu: Emulator, sdk: AsyncDaytona) -> None:
    await emu.fault("slow_boot", seconds=60, match="slow")
    with pytest.raises(DaytonaTimeoutError) as caught:
        await sdk.create(from_image("slow"), timeout=1)
    assert caught.value.sandbox_id == (await emu.sandboxes())[0]["id"]
    await sdk.create(from_image("quick"))


async def test_rate_limit_carries_the_suffixed_header(emu: Emulator, sdk: AsyncDaytona) -> None:
    await emu.fault("rate_limited", match="POST /sandbox$", seconds=7)
    with pytest.raises(DaytonaRateLimitError) as caught:
        await sdk.create(from_snapshot("limited"))
    headers = {name.lower(): value for name, value in (caught.value.headers or {}).items()}
    assert headers["retry-after-authenticated"] == "7"
    assert "retry-after" not in headers
    await sdk.create(from_snapshot("limited"))


async def test_quota_is_a_bad_request(emu: Emulator, sdk: AsyncDaytona) -> None:
    await emu.fault("quota")
    with pytest.raises(DaytonaError, match="Total CPU limit exceeded") as caught:
        await sdk.create(from_snapshot("over"))
    assert caught.value.status_code == 400


async def test_conflict_and_denied_deletion(emu: Emulator, sdk: AsyncDaytona) -> None:
    sandbox = await sdk.create(from_snapshot("stubborn"))
    await emu.fault("conflict", match="DELETE /sandbox/stubborn")
    with pytest.raises(DaytonaConflictError):
        await sandbox.delete()
    await emu.fault("delete_denied", match="stubborn", times=2)
    for _ in range(2):
        with pytest.raises(DaytonaForbiddenError):
            await sandbox.delete()
    await delete_all(sdk, emu)


async def test_stuck_deletion_ends_when_the_fault_is_cleared(emu: Emulator, sdk: AsyncDaytona) -> None:
    sandbox = await sdk.create(from_snapshot("stuck"))
    await emu.fault("stuck_deleting", match="^stuck$")
    with pytest.raises(DaytonaTimeoutError):
        await sandbox.delete(timeout=2, wait=True)
    assert [each["state"] for each in await emu.sandboxes()] == ["destroying"]
    await emu.clear_faults()
    await eventually(is_empty, emu)


async def is_empty(emu: Emulator) -> bool:
    return not await emu.sandboxes()


async def test_toolbox_that_is_down_takes_the_preview_with_it(emu: Emulator, sdk: AsyncDaytona) -> None:
    sandbox = await sdk.create(from_snapshot("down"))
    await serve_app(sandbox)
    link = await sandbox.get_preview_link(8000)
    await emu.fault("toolbox_down", times=None)
    with pytest.raises(DaytonaError) as caught:
        await sandbox.process.exec("true")
    assert caught.value.status_code == 502
    async with httpx.AsyncClient(headers={TOKEN_HEADER: link.token}) as browser:
        assert (await browser.get(link.url)).status_code == 502
        await emu.clear_faults()
        assert (await browser.get(link.url)).status_code == 200
    assert (await sandbox.process.exec("echo up")).result == "up\n"


async def test_any_other_error_can_be_ordered(emu: Emulator, sdk: AsyncDaytona) -> None:
    sandbox = await sdk.create(from_snapshot("ordered"))
    await emu.fault("error", match="/preview-url$", status=403, message="previews are not for you")
    with pytest.raises(DaytonaForbiddenError, match="previews are not for you"):
        await sandbox.get_preview_link(8000)


async def test_snapshot_states(emu: Emulator, sdk: AsyncDaytona) -> None:
    params = CreateSnapshotParams(name="mine", image=IMAGE)
    await emu.fault("snapshot_error", message="registry unreachable", match="mine")
    with pytest.raises(DaytonaError, match="registry unreachable"):
        await sdk.snapshot.create(params)
    with pytest.raises(DaytonaConflictError):
        await sdk.snapshot.create(params)
    await emu.fault("stuck_deleting", match="mine")
    await sdk.snapshot.delete("mine")
    assert (await sdk.snapshot.get("mine")).state.value == "removing"
    with pytest.raises(DaytonaConflictError):
        await sdk.snapshot.create(params)
    await emu.clear_faults()
    await eventually(snapshot_is_gone, emu)
    snapshot = await sdk.snapshot.create(params)
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {emu.api_key}"}) as api:
        (await api.post(f"{emu.api_url}/snapshots/{snapshot.id}/deactivate")).raise_for_status()
    with pytest.raises(DaytonaError, match="Snapshot mine is inactive"):
        await sdk.create(CreateSandboxFromSnapshotParams(name="never", snapshot="mine"))
    await sdk.snapshot.activate(snapshot)
    await sdk.create(CreateSandboxFromSnapshotParams(name="now", snapshot="mine"))


async def snapshot_is_gone(emu: Emulator) -> bool:
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {emu.api_key}"}) as api:
        return (await api.get(f"{emu.api_url}/snapshots/mine")).status_code == 404


async def test_preview_tokens(sdk: AsyncDaytona) -> None:
    sandbox = await sdk.create(from_snapshot("previewed"))
    link = await sandbox.get_preview_link(8000)
    async with httpx.AsyncClient() as browser:
        assert (await browser.get(link.url)).status_code == 401
        assert (await browser.get(link.url, headers={TOKEN_HEADER: "guess"})).status_code == 401
        nothing_listens = await browser.get(link.url, headers={TOKEN_HEADER: link.token})
        assert (nothing_listens.status_code, nothing_listens.content) == (502, b"")
        await sandbox.stop()
        await sandbox.start()
        await serve_app(sandbox)
        assert (await browser.get(link.url, headers={TOKEN_HEADER: link.token})).status_code == 401
        renewed = await sandbox.get_preview_link(8000)
        assert (await browser.get(renewed.url, headers={TOKEN_HEADER: renewed.token})).status_code == 200


async def test_api_key_opens_a_preview_and_is_not_passed_on(emu: Emulator, sdk: AsyncDaytona) -> None:
    sandbox = await sdk.create(from_snapshot("keyed"))
    await sandbox.fs.upload_file(SHOW_HEADERS.encode(), "/app/show.py")
    await serve_app(sandbox, "python3 -u show.py")
    link = await sandbox.get_preview_link(8000)
    async with httpx.AsyncClient() as browser:
        headers = {"Authorization": f"Bearer {emu.api_key}", "X-API-Key": "the app's own"}
        seen = (await browser.get(link.url, headers=headers)).text
    assert "the app's own" in seen
    assert emu.api_key not in seen


async def test_preview_can_redirect_to_a_login_page() -> None:
    async with emulator_or_skip(preview_refusal="redirect") as emu, sdk_for(emu) as sdk:
        link = await (await sdk.create(from_snapshot("login"))).get_preview_link(8000)
        async with httpx.AsyncClient() as browser:
            answer = await browser.get(link.url)
    assert answer.status_code == 307
    assert "authorize" in answer.headers["location"]


async def test_journal_keeps_no_key_and_counts_every_request(emu: Emulator, sdk: AsyncDaytona) -> None:
    sandbox = await sdk.create(from_snapshot("journalled"))
    await sandbox.process.create_session("s")
    await sandbox.process.execute_session_command("s", SessionExecuteRequest(command="true"))
    entries = await emu.journal()
    operations = [f"{entry.plane} {entry.method} {entry.path}" for entry in entries]
    assert operations == [
        "api POST /sandbox",
        "toolbox POST /process/session",
        "toolbox POST /process/session/s/exec",
    ]
    assert entries[0].request["name"] == "journalled"
    assert entries[2].sandbox == sandbox.id
    assert not any(emu.api_key in entry.model_dump_json() for entry in entries)


async def test_latency_is_added_to_every_request() -> None:
    async with emulator_or_skip(latency_ms=150) as emu, sdk_for(emu) as sdk:
        sandbox = await sdk.create(from_snapshot("far"))
        await sandbox.process.exec("true")
        assert all(entry.seconds >= 0.15 for entry in await emu.journal())


def test_fault_strikes_whom_it_matches_as_often_as_it_says() -> None:
    faults = Faults()
    faults.arm(Fault(kind="slow_boot", match="^eb-", after=1, times=2, seconds=3))
    struck = [bool(faults.take("slow_boot", name)) for name in ("eb-0", "other", "eb-1", "eb-2", "eb-3")]
    assert struck == [False, False, True, True, False]
    assert faults.take("failed_boot", "eb-1") is None


def test_fault_is_over_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    faults = Faults()
    faults.arm(Fault(kind="toolbox_down", lasts=5))
    assert all(faults.take("toolbox_down", "GET /") for _ in range(3))
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 6)
    assert faults.take("toolbox_down", "GET /") is None


async def test_a_slow_command_takes_its_time_and_keeps_its_answer(sdk: AsyncDaytona, emu: Emulator) -> None:
    await emu.fault("slow_command", match="hello", seconds=1, times=None)
    sandbox = await sdk.create(from_snapshot("slow"))
    begin = time.monotonic()
    done = await sandbox.process.exec("echo hello; (exit 5)")
    assert (done.result, done.exit_code) == ("hello\n", 5)
    assert time.monotonic() - begin >= 1
    await sandbox.process.create_session("s")
    begun = await sandbox.process.execute_session_command("s", SessionExecuteRequest(command="echo hello; false"))
    assert (begun.stdout, begun.exit_code) == ("hello\n", 1)
    assert time.monotonic() - begin >= 2
    await sandbox.delete()
