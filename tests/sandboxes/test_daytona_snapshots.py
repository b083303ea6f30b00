"""Snapshots: built once, reused, and dealt with in whatever state they are."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from daytona import AsyncDaytona, CreateSandboxFromImageParams, CreateSnapshotParams, DaytonaError, Image

from core.errors import ConfigurationError, InfrastructureError
from sandboxes.base import Machine
from sandboxes.bundle import Bundle, build
from sandboxes.conformance_kit import NONCE, READY, stand_in_bundle, started
from sandboxes.daytona import DaytonaBackend, images, snapshots
from sandboxes.daytona.images import Definition, define
from sandboxes.daytona.labels import labels_for
from sandboxes.written import writing
from tests.daytona_emulator import Emulator, emulator
from tests.daytona_emulator.isolation import CHECKOUT
from tests.sandboxes.daytona_harness import DaytonaHarness, new_spec, sdk_for, skip_without_commands

AUTO = Machine(snapshot="auto")
PATIENCE = 30.0


@pytest.fixture
async def emu() -> AsyncIterator[Emulator]:
    async with emulator() as running:
        skip_without_commands(running)
        yield running


@pytest.fixture
async def backend(emu: Emulator) -> AsyncIterator[DaytonaBackend]:
    async with AsyncExitStack() as stack:
        yield DaytonaHarness(emu, stack).open_daytona()


@pytest.fixture
async def sdk(emu: Emulator) -> AsyncIterator[AsyncDaytona]:
    async with sdk_for(emu) as client:
        yield client


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return stand_in_bundle(tmp_path / "bundles", "1")


@pytest.fixture
def definition(bundle: Bundle) -> Definition:
    return define(AUTO, bundle, ())


async def built(sdk: AsyncDaytona, definition: Definition, lines: list[str] | None = None) -> bool:
    shown = [] if lines is None else lines
    return await snapshots.build(sdk, definition, patience=PATIENCE, show=shown.append)


async def state(sdk: AsyncDaytona, name: str) -> str | None:
    found = await snapshots.find(sdk, name)
    return snapshots.state_of(found) if found else None


async def test_a_sandbox_from_an_automatic_snapshot_has_it_all(
    emu: Emulator, backend: DaytonaBackend, bundle: Bundle
) -> None:
    machine = await backend.prepare(AUTO, bundle, ("sh",))
    spec = new_spec(machine=machine)
    await backend.health(await started(backend, spec, bundle), NONCE, READY)
    uploads = [entry for entry in await emu.journal() if entry.path == "/files/bulk-upload"]
    assert len(uploads) == 1  # the keys, and not the bundle
    await backend.cleanup(spec)


async def test_it_is_built_once_and_reused(emu: Emulator, backend: DaytonaBackend, bundle: Bundle) -> None:
    first = await backend.prepare(AUTO, bundle, ())
    assert await backend.prepare(AUTO, bundle, ()) == first
    creates = [entry for entry in await emu.journal() if (entry.method, entry.path) == ("POST", "/snapshots")]
    assert len(creates) == 1


async def test_two_that_need_it_at_once_build_it_once(sdk: AsyncDaytona, definition: Definition) -> None:
    assert sorted(await asyncio.gather(built(sdk, definition), built(sdk, definition))) == [False, True]


async def test_the_log_of_the_build_is_shown_in_short_lines(sdk: AsyncDaytona, definition: Definition) -> None:
    lines: list[str] = []
    await built(sdk, definition, lines)
    assert any("inside.py install" in line for line in lines)
    assert max(map(len, lines)) < 250


def test_another_content_machine_or_tool_is_another_snapshot(tmp_path: Path, bundle: Bundle) -> None:
    other = stand_in_bundle(tmp_path / "bundles", "2")
    machines = [Machine(), Machine(image="debian:13"), Machine(cpu=4), Machine(memory=8), Machine(disk=10)]
    names = {define(machine, content, ()).name for machine in machines for content in (bundle, other)}
    assert len(names) == 10
    assert define(Machine(), bundle, ("cargo",)).name not in names
    assert define(AUTO, bundle, ()).name == define(Machine(), bundle, ()).name


def test_no_line_is_too_long_for_docker(tmp_path: Path) -> None:
    (tmp_path / "big.bin").write_bytes(os.urandom(500_000))
    text = define(AUTO, build({"task_app": tmp_path}), ()).image.dockerfile()
    assert len(text) > 500_000
    assert max(map(len, text.splitlines())) < 65_535


async def test_a_benchmark_too_large_for_a_definition_is_uploaded_instead(
    emu: Emulator, backend: DaytonaBackend, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "_LARGEST", 1000)
    machine = await backend.prepare(AUTO, bundle, ())
    spec = new_spec(machine=machine)
    await backend.health(await started(backend, spec, bundle), NONCE, READY)
    await backend.cleanup(spec)


@pytest.mark.parametrize("kind", ["build_failed", "snapshot_error"])
async def test_a_build_that_fails_is_explained_and_leaves_nothing(
    emu: Emulator, sdk: AsyncDaytona, definition: Definition, kind: str
) -> None:
    await emu.fault(kind, message="the mirror is down")
    with pytest.raises(InfrastructureError, match=f"Snapshot {definition.name} can't be built: the mirror is down"):
        await built(sdk, definition)
    assert await built(sdk, definition)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("rate_limited", {"match": "POST /snapshots$"}),
        ("error", {"match": "POST /snapshots$", "status": 502}),
        ("error", {"match": "GET /snapshots/", "status": 503}),
        ("slow_build", {"seconds": 1}),
    ],
    ids=str,
)
async def test_what_passes_while_it_is_built_is_survived(
    emu: Emulator, sdk: AsyncDaytona, definition: Definition, kind: Any, options: dict[str, Any]
) -> None:
    await emu.fault(kind, **options)
    assert await built(sdk, definition)


@pytest.mark.slow
async def test_in_an_image_of_the_shipped_dockerfile_there_is_nothing_to_install(
    emu: Emulator, backend: DaytonaBackend, sdk: AsyncDaytona, tmp_path: Path
) -> None:
    """Docker's part of it, FROM and apt, is recorded only: the emulator's images begin with this machine."""
    dockerfile = tmp_path / "Dockerfile"
    dockerfile.write_text("\n".join(_without_context(CHECKOUT / "deployments" / "Dockerfile")))
    spec = new_spec()
    image = Image.from_dockerfile(dockerfile)
    await sdk.create(CreateSandboxFromImageParams(name=spec.name, labels=labels_for(spec), image=image), timeout=300)
    sandbox = await backend.provision(spec)
    await backend.upload(sandbox, build({"task_app": CHECKOUT / "task_app"}))
    assert await (await backend._remote(sandbox)).run("installed", "cargo") == "yes"
    await backend.cleanup(spec)


def _without_context(dockerfile: Path) -> Iterator[str]:
    """Its lines, with the files that it copies written into it as our own images write them."""
    for line in dockerfile.read_text().splitlines():
        if line.startswith("COPY "):
            _, source, target = line.split()
            yield f"RUN mkdir -p {Path(target).parent}"
            yield from (f"RUN {step}" for step in writing(target, (CHECKOUT / source).read_bytes()))
        else:
            yield line


async def test_without_a_snapshot_the_image_serves(
    emu: Emulator, backend: DaytonaBackend, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    await emu.fault("build_failed", message="the mirror is down")
    assert await backend.prepare(AUTO, bundle, ()) == Machine(snapshot="none")
    assert "the mirror is down" in caplog.text


async def test_a_build_is_given_the_time_that_its_machine_says(
    emu: Emulator, backend: DaytonaBackend, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    await emu.fault("slow_build", seconds=20)
    hasty = Machine(snapshot="auto", build_timeout=1)
    assert (await backend.prepare(hasty, bundle, ())).snapshot == "none"
    assert "build snapshot" in caplog.text


async def test_one_that_failed_earlier_is_built_anew(emu: Emulator, sdk: AsyncDaytona, definition: Definition) -> None:
    await emu.fault("build_failed")
    with pytest.raises(DaytonaError, match="made to fail"):
        await _create_by_hand(sdk, definition)
    assert await state(sdk, definition.name) == "build_failed"
    assert await built(sdk, definition)


async def test_an_inactive_one_is_activated(sdk: AsyncDaytona, definition: Definition) -> None:
    await built(sdk, definition)
    await _deactivate(sdk, definition.name)
    assert not await built(sdk, definition)
    assert await state(sdk, definition.name) == "active"


async def test_one_that_is_being_deleted_is_built_anew_afterwards(
    emu: Emulator, sdk: AsyncDaytona, definition: Definition
) -> None:
    await built(sdk, definition)
    await emu.fault("stuck_deleting", seconds=1.5)
    await sdk.snapshot.delete(definition.name)
    assert await built(sdk, definition)


async def test_one_that_does_not_get_ready_is_told(emu: Emulator, sdk: AsyncDaytona, definition: Definition) -> None:
    await built(sdk, definition)
    await emu.fault("stuck_deleting")
    await sdk.snapshot.delete(definition.name)
    with pytest.raises(InfrastructureError, match=definition.name):
        await snapshots.build(sdk, definition, patience=1.5, show=print)


async def test_list_shows_ours_and_delete_takes_one_away(sdk: AsyncDaytona, definition: Definition) -> None:
    assert await snapshots.list_ours(sdk) == []  # Daytona's own one is not ours
    await built(sdk, definition)
    assert [each.name for each in await snapshots.list_ours(sdk)] == [definition.name]
    assert await snapshots.delete(sdk, definition.name, patience=PATIENCE)
    assert await snapshots.list_ours(sdk) == []
    assert not await snapshots.delete(sdk, definition.name, patience=PATIENCE)


async def test_what_is_not_ours_is_not_deleted(sdk: AsyncDaytona) -> None:
    with pytest.raises(ConfigurationError, match="daytona-small"):
        await snapshots.delete(sdk, "daytona-small", patience=PATIENCE)
    assert await state(sdk, "daytona-small") == "active"


async def test_a_named_snapshot_is_checked_before_anything_is_made(
    sdk: AsyncDaytona, backend: DaytonaBackend, bundle: Bundle, definition: Definition
) -> None:
    named = Machine(snapshot=definition.name)
    with pytest.raises(ConfigurationError, match=f"no snapshot {definition.name}"):
        await backend.prepare(named, bundle, ())
    await built(sdk, definition)
    await _deactivate(sdk, definition.name)
    assert await backend.prepare(named, bundle, ()) == named
    assert await state(sdk, definition.name) == "active"


async def _create_by_hand(sdk: AsyncDaytona, definition: Definition) -> None:
    await sdk.snapshot.create(CreateSnapshotParams(name=definition.name, image=definition.image))


async def _deactivate(sdk: AsyncDaytona, name: str) -> None:
    """The SDK has no call for it; Daytona does it to snapshots that nobody uses."""
    api = sdk.snapshot._AsyncSnapshotService__snapshots_api  # type: ignore[attr-defined]
    await api.deactivate_snapshot((await sdk.snapshot.get(name)).id)
