"""States, names, quotas, intervals: the control plane as the SDK sees it."""

from __future__ import annotations

from typing import Any

import pytest
from daytona import (
    AsyncDaytona,
    CreateSandboxFromImageParams,
    CreateSandboxFromSnapshotParams,
    DaytonaAuthenticationError,
    DaytonaConflictError,
    DaytonaError,
    DaytonaNotFoundError,
    DaytonaTimeoutError,
    Image,
    Resources,
    SandboxState,
    SessionExecuteRequest,
)
from daytona.common.sandbox import ListSandboxesQuery

from tests.daytona_emulator import Emulator, emulator
from tests.daytona_emulator_tests.conftest import emulator_or_skip, eventually, sdk_for

IMAGE = "python:3.11-slim"


def from_image(name: str, **options: object) -> CreateSandboxFromImageParams:
    return CreateSandboxFromImageParams.model_validate({"name": name, "image": IMAGE, **options})


def from_snapshot(name: str, **options: object) -> CreateSandboxFromSnapshotParams:
    return CreateSandboxFromSnapshotParams.model_validate({"name": name, **options})


async def is_empty(emu: Emulator) -> bool:
    return not await emu.sandboxes()


async def test_image_goes_through_building_and_booting() -> None:
    async with emulator_or_skip(build_seconds=1.5, boot_seconds=1.5) as emu, sdk_for(emu) as sdk:
        await sdk.create(from_image("slow"))
        answers = [entry.response for entry in await emu.journal() if "state" in (entry.response or {})]
    assert list(dict.fromkeys(answer["state"] for answer in answers))[:3] == [
        "pending_build",
        "building_snapshot",
        "creating",
    ]


async def test_built_image_is_cached(sdk: AsyncDaytona) -> None:
    image = Image.base(IMAGE).run_commands("echo once > /opt/once")
    logs: list[list[str]] = [[], []]
    for name, log in zip(("first", "second"), logs, strict=True):
        sandbox = await sdk.create(from_image(name, image=image), on_snapshot_create_logs=log.append)
        assert (await sandbox.process.exec("cat /opt/once")).result == "once\n"
    assert [any("CACHED" in line for line in log) for log in logs] == [False, True]


async def test_booting_sandbox_refuses_its_deletion() -> None:
    async with emulator(boot_seconds=60) as emu, sdk_for(emu) as sdk:
        with pytest.raises(DaytonaTimeoutError):
            await sdk.create(from_image("booting"), timeout=1)
        sandbox = await sdk.get("booting")
        with pytest.raises(DaytonaConflictError, match="state change in progress"):
            await sandbox.delete()


async def test_deleted_name_is_free_at_once() -> None:
    async with emulator(delete_seconds=60) as emu, sdk_for(emu) as sdk:
        first = await sdk.create(from_snapshot("same"))
        with pytest.raises(DaytonaConflictError):
            await sdk.create(from_snapshot("same"))
        await first.delete()
        second = await sdk.create(from_snapshot("same"))
        assert second.id != first.id
        await first.refresh_data()
        assert str(first.state) == str(SandboxState.DESTROYING)
        assert first.name.startswith("DESTROYED_same_")


async def test_deleted_sandbox_is_not_found(emu: Emulator, sdk: AsyncDaytona) -> None:
    sandbox = await sdk.create(from_snapshot("gone"))
    await sandbox.delete(wait=True)
    with pytest.raises(DaytonaNotFoundError):
        await sdk.get(sandbox.id)
    assert await emu.sandboxes() == []
    assert [each["id"] for each in await emu.destroyed()] == [sandbox.id]


async def test_stop_ends_an_ephemeral_sandbox(emu: Emulator, sdk: AsyncDaytona) -> None:
    sandbox = await sdk.create(from_snapshot("ephemeral", ephemeral=True))
    await sandbox.stop()
    await eventually(is_empty, emu)
    assert [each["id"] for each in await emu.destroyed()] == [sandbox.id]


async def test_list_filters_by_every_label_and_pages(sdk: AsyncDaytona) -> None:
    for number in range(3):
        await sdk.create(from_snapshot(f"s{number}", labels={"app": "x", "lane": str(number)}))
    await sdk.create(from_snapshot("other", labels={"app": "y"}))

    async def names(**query: Any) -> list[str]:
        return [each.name async for each in sdk.list(ListSandboxesQuery(**query))]

    assert await names(labels={"app": "x"}, limit=2) == ["s2", "s1", "s0"]
    assert await names(labels={"app": "x", "lane": "1"}) == ["s1"]
    assert await names(labels={"app": "z"}) == []
    assert await names(states=[SandboxState.STOPPED]) == []


async def test_quota_counts_cores_of_running_sandboxes() -> None:
    async with emulator(total_cpu=4) as emu, sdk_for(emu) as sdk:
        await sdk.create(from_image("fits", resources=Resources(cpu=3)))
        with pytest.raises(DaytonaError, match="Total CPU limit exceeded"):
            await sdk.create(from_image("too-much", resources=Resources(cpu=2)))


async def test_wrong_key_is_refused(emu: Emulator) -> None:
    async with sdk_for(emu, api_key="wrong") as stranger:
        with pytest.raises(DaytonaAuthenticationError):
            await stranger.create(from_snapshot("never"))
    assert await emu.sandboxes() == []


async def test_unknown_region_is_refused(sdk: AsyncDaytona) -> None:
    with pytest.raises(DaytonaNotFoundError, match="Region mars not found"):
        await sdk.create(from_snapshot("never", target="mars"))


async def test_idle_sandbox_stops_and_is_deleted() -> None:
    async with emulator(minute_seconds=0.3) as emu, sdk_for(emu) as sdk:
        sandbox = await sdk.create(from_snapshot("idle", auto_stop_interval=1, auto_delete_interval=1))
        await sandbox.wait_for_sandbox_stop()
        await eventually(is_empty, emu)
        assert [each["name"].split("_")[0] for each in await emu.destroyed()] == ["DESTROYED"]


async def test_time_to_live_ends_a_busy_sandbox() -> None:
    async with emulator(minute_seconds=0.3) as emu, sdk_for(emu) as sdk:
        sandbox = await sdk.create(from_snapshot("mortal", auto_stop_interval=0))
        await sandbox.process.create_session("s")
        await sandbox.process.execute_session_command("s", SessionExecuteRequest(command="sleep 99", run_async=True))
        await sandbox.set_ttl(1)
        await eventually(is_empty, emu)


async def test_only_toolbox_calls_and_refreshes_are_activity(sdk: AsyncDaytona) -> None:
    sandbox = await sdk.create(from_snapshot("active"))

    async def last_activity() -> str | None:
        await sandbox.refresh_data()
        return sandbox.last_activity_at

    before = await last_activity()
    assert await last_activity() == before
    await sandbox.process.exec("true")
    after_call = await last_activity()
    await sandbox.refresh_activity()
    assert before != after_call != await last_activity()


async def test_command_that_outlasts_its_timeout_is_killed(sdk: AsyncDaytona) -> None:
    sandbox = await sdk.create(from_snapshot("hang"))
    with pytest.raises(DaytonaTimeoutError):
        await sandbox.process.exec("sleep 100 &", timeout=1)  # held open by its child, as with the real daemon
    assert (await sandbox.process.exec("pgrep sleep || echo none")).result == "none\n"


async def test_command_that_ends_its_shell_has_that_exit_code(sdk: AsyncDaytona) -> None:
    sandbox = await sdk.create(from_snapshot("exit"))
    await sandbox.process.create_session("s")
    done = await sandbox.process.execute_session_command("s", SessionExecuteRequest(command="echo bye; exit 5"))
    assert (done.exit_code, done.stdout) == (5, "bye\n")
    with pytest.raises(DaytonaError, match="session has ended"):
        await sandbox.process.execute_session_command("s", SessionExecuteRequest(command="true"))
