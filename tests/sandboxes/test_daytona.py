"""What only the Daytona backend promises: names, labels, limits, private previews, keys that don't show."""

import asyncio
import logging
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from daytona import CreateSandboxFromSnapshotParams
from pydantic import SecretStr

from core.errors import ConfigurationError, EngineBenchError, InfrastructureError
from core.redaction import redact
from core.settings import Settings
from sandboxes import open_backend
from sandboxes.base import Machine, SandboxSpec
from sandboxes.bundle import Bundle, build
from sandboxes.conformance_kit import KEY, NONCE, READY, environment, facts, stand_in_bundle, started
from sandboxes.daytona import DaytonaBackend
from sandboxes.daytona.labels import labels_for
from sandboxes.daytona.patience import Patience
from tests.daytona_emulator import Emulator, emulator
from tests.sandboxes.daytona_harness import (
    DaytonaHarness,
    is_poll,
    new_spec,
    sdk_for,
    settings_for,
    skip_without_commands,
)

API_KEY = "dtn_of-this-test-alone-51c3"


@pytest.fixture
async def emu() -> AsyncIterator[Emulator]:
    async with emulator(api_key=API_KEY) as running:
        skip_without_commands(running)
        yield running


@pytest.fixture
async def harness(emu: Emulator) -> AsyncIterator[DaytonaHarness]:
    async with AsyncExitStack() as stack:
        yield DaytonaHarness(emu, stack, Patience(delete=5, call=2))


@pytest.fixture
def backend(harness: DaytonaHarness) -> DaytonaBackend:
    return harness.open_daytona()


@pytest.fixture
def spec() -> SandboxSpec:
    return new_spec(lifetime=5400, machine=Machine(cpu=3, memory=6, disk=9))


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return stand_in_bundle(tmp_path / "bundles", "1")


# What is made


async def test_a_sandbox_is_labelled_limited_and_private(
    emu: Emulator, backend: DaytonaBackend, spec: SandboxSpec
) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    await backend.provision(spec)
    (made,) = await emu.sandboxes()
    assert made["name"] == spec.name
    labels = made["labels"]
    assert (labels["app"], labels["flow_run_id"], labels["lane"]) == ("engine-bench", spec.run_id, "0")
    expires = datetime.fromisoformat(labels["expires_at"])
    assert before <= expires - timedelta(seconds=spec.lifetime) <= datetime.now(UTC)
    assert (made["cpu"], made["memory"], made["disk"]) == (3, 6, 9)
    assert made["public"] is False
    assert made["autoDeleteInterval"] == 0  # ephemeral
    assert made["autoStopInterval"] > 0
    destroyed = datetime.fromisoformat(made["autoDestroyAt"]) - datetime.fromisoformat(made["createdAt"])
    assert destroyed == timedelta(minutes=90)


@pytest.mark.parametrize("image", ["", "python:3.13-slim"])
async def test_the_image_may_be_chosen(emu: Emulator, backend: DaytonaBackend, spec: SandboxSpec, image: str) -> None:
    await backend.provision(spec.model_copy(update={"machine": Machine(image=image)}))
    (made,) = await emu.sandboxes()
    assert made["buildInfo"]["dockerfileContent"].startswith(f"FROM {image or 'python:'}")


async def test_a_sandbox_of_another_run_is_left_alone(
    emu: Emulator, harness: DaytonaHarness, spec: SandboxSpec
) -> None:
    await harness.open().provision(spec.model_copy(update={"run_id": "another-run"}))
    with pytest.raises(ConfigurationError, match="belongs to flow run another-run"):
        await harness.open().provision(spec)
    await harness.open().cleanup(spec)
    assert len(await emu.sandboxes()) == 1


async def test_a_sandbox_that_is_not_ours_is_left_alone(
    emu: Emulator, backend: DaytonaBackend, spec: SandboxSpec
) -> None:
    async with sdk_for(emu) as sdk:
        await sdk.create(CreateSandboxFromSnapshotParams(name=spec.name, labels={"flow_run_id": spec.run_id}))
    with pytest.raises(ConfigurationError, match="not made by engine-bench"):
        await backend.provision(spec)
    await backend.cleanup(spec)
    assert await backend.list() == ()
    assert len(await emu.sandboxes()) == 1


async def test_an_expired_sandbox_of_another_run_is_replaced(
    emu: Emulator, backend: DaytonaBackend, spec: SandboxSpec
) -> None:
    labels = labels_for(spec.model_copy(update={"run_id": "another-run"}))
    async with sdk_for(emu) as sdk:
        labels |= {"expires_at": "2020-01-01T00:00:00+00:00"}
        await sdk.create(CreateSandboxFromSnapshotParams(name=spec.name, labels=labels))
    await backend.provision(spec)
    (made,) = await emu.sandboxes()
    assert made["labels"]["flow_run_id"] == spec.run_id


@pytest.mark.parametrize(
    "labels",
    [
        {"expires_at": None},
        {"expires_at": "tomorrow"},
        {"expires_at": "2030-01-01T00:00:00"},
        {"lane": "x"},
        {"flow_run_id": None},
        {"app": "other"},
    ],
)
async def test_what_can_not_be_read_in_full_is_not_listed(
    emu: Emulator, backend: DaytonaBackend, spec: SandboxSpec, labels: dict[str, str | None]
) -> None:
    changed = {name: value for name, value in (labels_for(spec) | labels).items() if value is not None}
    async with sdk_for(emu) as sdk:
        await sdk.create(CreateSandboxFromSnapshotParams(name=spec.name, labels=changed))
    assert await backend.list() == ()


async def test_cleanup_finds_by_label_what_has_no_name_any_more(
    emu: Emulator, harness: DaytonaHarness, spec: SandboxSpec
) -> None:
    await harness.open().provision(spec)
    await emu.fault("stuck_deleting", seconds=1)
    async with sdk_for(emu) as sdk:
        await (await sdk.get(spec.name)).delete()
    await harness.open().cleanup(spec)
    assert await emu.sandboxes() == []


# Getting in


async def test_the_preview_lets_nobody_in_without_its_token(
    backend: DaytonaBackend, spec: SandboxSpec, bundle: Bundle
) -> None:
    sandbox = await started(backend, spec, bundle)
    await backend.health(sandbox, NONCE, READY)
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{sandbox.url}/health")).status_code == 401


async def test_a_signed_preview_lets_in_by_its_url_alone_until_it_expires(
    backend: DaytonaBackend, spec: SandboxSpec, bundle: Bundle
) -> None:
    sandbox = await started(backend, spec, bundle)
    await backend.health(sandbox, NONCE, READY)
    lasting, brief = await backend.endpoint(sandbox, public_for=600), await backend.endpoint(sandbox, public_for=1)
    assert not lasting.headers
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{lasting.url}/health")).json()["nonce"] == NONCE
        while (await client.get(f"{brief.url}/health")).status_code == 200:  # noqa: ASYNC110 - the emulator's clock
            await asyncio.sleep(0.1)
    assert lasting.url not in repr(lasting)


async def test_a_login_page_is_no_task_app(spec: SandboxSpec, bundle: Bundle) -> None:
    async with emulator(preview_refusal="redirect") as emu, AsyncExitStack() as stack:
        skip_without_commands(emu)
        backend = DaytonaHarness(emu, stack).open_daytona()
        sandbox = await started(backend, spec, bundle)
        remote = backend._remotes[sandbox.id]
        endpoint = await remote.endpoint()
        remote._endpoint = endpoint.model_copy(update={"headers": {}})
        with pytest.raises(InfrastructureError, match="Another server"):
            await backend.health(sandbox, NONCE, READY)


# Staying alive, coming to an end


async def test_a_sandbox_that_is_kept_alive_does_not_stop_for_idleness(spec: SandboxSpec, bundle: Bundle) -> None:
    async with emulator(minute_seconds=0.05) as emu, AsyncExitStack() as stack:
        skip_without_commands(emu)
        backend = DaytonaHarness(emu, stack).open_daytona()
        sandbox = await backend.provision(spec.model_copy(update={"lifetime": 360_000}))
        for _ in range(10):
            await asyncio.sleep(0.2)
            await backend.keep_alive(sandbox)
        assert [made["state"] for made in await emu.sandboxes()] == ["started"]
        while await emu.sandboxes():  # noqa: ASYNC110 - idle from now on, and ephemeral
            await asyncio.sleep(0.2)


async def test_a_task_app_that_dies_shows_its_exit_code(
    backend: DaytonaBackend, spec: SandboxSpec, bundle: Bundle
) -> None:
    sandbox = await started(backend, spec, bundle, "dies")
    with pytest.raises(
        InfrastructureError,
        match=f"Task app failed to start in sandbox {spec.name}: it ended with code 3(.|\n)*the end is near",
    ):
        await backend.health(sandbox, NONCE, READY)


async def test_a_failed_installation_shows_the_end_of_its_output_and_keeps_it(
    backend: DaytonaBackend, spec: SandboxSpec, tmp_path: Path
) -> None:
    folder = tmp_path / "task_app"
    folder.mkdir()
    (folder / "requirements.txt").write_text("a-package-that-nobody-has==1.0 --hash=sha256:" + "0" * 64 + "\n")
    sandbox = await backend.provision(spec)
    await backend.upload(sandbox, build({"task_app": folder}))
    with pytest.raises(InfrastructureError, match=r"exit code 1(.|\n)*a-package-that-nobody-has"):
        await backend.install(sandbox, ())
    assert "a-package-that-nobody-has" in await backend.install_log(sandbox)


async def test_the_output_of_the_installation_is_logged(
    backend: DaytonaBackend, spec: SandboxSpec, bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    sandbox = await backend.provision(spec)
    await backend.upload(sandbox, bundle)
    await backend.install(sandbox, ())
    assert "-m venv" in caplog.text


async def test_requirements_come_from_hashes_alone(backend: DaytonaBackend, spec: SandboxSpec, tmp_path: Path) -> None:
    folder = tmp_path / "task_app"
    folder.mkdir()
    (folder / "requirements.txt").write_text("idna==3.10\n")
    sandbox = await backend.provision(spec)
    await backend.upload(sandbox, build({"task_app": folder}))
    with pytest.raises(InfrastructureError, match="require-hashes"):
        await backend.install(sandbox, ())


# Few requests


async def test_a_life_takes_a_dozen_requests_beside_polls(
    emu: Emulator, backend: DaytonaBackend, spec: SandboxSpec, bundle: Bundle
) -> None:
    sandbox = await started(backend, spec, bundle)
    await backend.health(sandbox, NONCE, READY)
    await backend.endpoint(sandbox)
    await backend.cleanup(spec)
    requests = [entry for entry in await emu.journal() if not is_poll(entry)]
    assert len(requests) <= 12, [f"{entry.plane} {entry.method} {entry.path}" for entry in requests]


# Errors and secrets


def test_without_a_key_it_says_how_to_get_one() -> None:
    with pytest.raises(ConfigurationError, match=r"DAYTONA_API_KEY environment variable required.*dashboard/keys"):
        open_backend("daytona", Settings(daytona_api_key=None))


@pytest.mark.parametrize("key", ["", " "])
def test_an_empty_key_is_none(key: str) -> None:
    with pytest.raises(ConfigurationError, match="DAYTONA_API_KEY environment variable required"):
        open_backend("daytona", Settings(daytona_api_key=SecretStr(key)))


def test_without_the_sdk_it_says_how_to_get_it() -> None:
    program = (
        "import sys; sys.modules['daytona'] = None\n"
        "from core.settings import Settings\nfrom sandboxes import open_backend\n"
        "open_backend('daytona', Settings(daytona_api_key='dtn_x'))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "ConfigurationError: Daytona SDK not available" in done.stderr
    assert "pip install" in done.stderr


def test_a_local_run_does_not_pay_for_the_sdk() -> None:
    program = (
        "import sys\nfrom core.settings import Settings\nfrom sandboxes import open_backend\n"
        "open_backend('local', Settings())\nassert 'daytona' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


async def test_a_region_that_is_not_there_is_named(emu: Emulator, spec: SandboxSpec) -> None:
    backend = DaytonaBackend(settings_for(emu).model_copy(update={"daytona_target": "mars"}))
    try:
        with pytest.raises(ConfigurationError, match=r"mars.*DAYTONA_TARGET"):
            await backend.provision(spec)
    finally:
        await backend.aclose()


async def test_the_target_is_honoured(emu: Emulator, spec: SandboxSpec) -> None:
    backend = DaytonaBackend(settings_for(emu).model_copy(update={"daytona_target": "eu"}))
    try:
        await backend.provision(spec)
        assert [made["target"] for made in await emu.sandboxes()] == ["eu"]
    finally:
        await backend.aclose()


@pytest.mark.parametrize("behaviour", ["behaves", "fails", "dies"])
async def test_no_secret_shows_in_logs_errors_or_handles(
    emu: Emulator,
    backend: DaytonaBackend,
    spec: SandboxSpec,
    bundle: Bundle,
    behaviour: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    said: list[Any] = []
    secrets = {API_KEY, KEY}
    with redact.guarding_logs():
        sandbox = await started(backend, spec, bundle, behaviour)
        try:
            await backend.health(sandbox, NONCE, READY)
            signed = await backend.endpoint(sandbox, public_for=60)
            private = await backend.endpoint(sandbox)
            secrets |= {signed.url, private.headers["x-daytona-preview-token"].get_secret_value()}
            said += [signed, private]
        except EngineBenchError as error:
            said.append("".join(traceback.format_exception(error)))
        await emu.fault("error", match="toolbox", status=500, message=f"it was {API_KEY}", times=None)
        with pytest.raises(InfrastructureError) as caught:
            await backend.start(sandbox, environment())
        said.append("".join(traceback.format_exception(caught.value)))
        await emu.clear_faults()
        said += [sandbox, backend, backend._remotes, backend._settings, await backend.install_log(sandbox)]
        said.append(await backend.log(sandbox))
        await backend.cleanup(spec)
    texts = [caplog.text, *map(str, said), *map(repr, said)]
    assert [secret for secret in secrets for text in texts if secret in text] == []


async def test_another_object_goes_on_where_one_has_stopped(
    harness: DaytonaHarness, spec: SandboxSpec, bundle: Bundle
) -> None:
    sandbox = await harness.open().provision(spec)
    await harness.open().upload(sandbox, bundle)
    await harness.open().install(sandbox, ())
    sandbox = await harness.open().start(sandbox, environment())
    await harness.open().health(sandbox, NONCE, READY)
    assert (await facts(harness.open(), sandbox))["directory"] == "/app"


async def test_a_backend_that_was_closed_opens_again(backend: DaytonaBackend, spec: SandboxSpec) -> None:
    first = await backend.provision(spec)
    await backend.aclose()
    assert await backend.provision(spec) == first
    await backend.cleanup(spec)
