"""What every backend must do, as tests: each verb, each twice, after failures in between, and with garbage.

A backend's test module subclasses `BackendConformance` and provides a fixture `harness`, a `BackendHarness`. Nothing in
here knows what a sandbox is made of. The task app is the stand-in beside this module. After each test its sandboxes are
cleaned up from a backend object that never saw them, and nothing may be left.

Longer than other modules, since it is one list: the contract that `base.py` sets, verb by verb.
"""

import asyncio
import hashlib
import logging
import secrets
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from core.errors import ConfigurationError, EngineBenchError, InfrastructureError
from sandboxes.base import Backend, Sandbox, SandboxNotFound, SandboxSpec
from sandboxes.bundle import Bundle
from sandboxes.conformance_kit import (
    GARBAGE,
    KEY,
    NONCE,
    READY,
    BackendHarness,
    broken_bundle,
    environment,
    facts,
    stand_in_bundle,
    started,
)

MakeSpec = Callable[[], SandboxSpec]

A_MINUTE = timedelta(minutes=1)
"""Some backends round the times that they write down."""

STAGES = ("nothing", "half-made", "provisioned", "uploaded", "started", "healthy", "dead", "refused")


class BackendConformance:
    """Subclass it with a fixture `harness`."""

    @pytest.fixture
    def backend(self, harness: BackendHarness) -> Backend:
        return harness.open()

    @pytest.fixture
    async def make_spec(self, harness: BackendHarness) -> AsyncIterator[MakeSpec]:
        """Specs with new names, all for one run and one wanted port; afterwards none of them may have left a trace."""
        run, specs = secrets.token_hex(4), list[SandboxSpec]()

        def make() -> SandboxSpec:
            lane = len(specs)
            specs.append(SandboxSpec(name=f"eb-test-{run}-{lane}", run_id=f"run-{run}", lane=lane, port=18_017))
            return specs[-1]

        yield make
        for spec in specs:
            await harness.open().cleanup(spec)
            assert await harness.leftovers(spec) == []

    @pytest.fixture
    def spec(self, make_spec: MakeSpec) -> SandboxSpec:
        return make_spec()

    @pytest.fixture
    def bundle(self, tmp_path: Path) -> Bundle:
        return stand_in_bundle(tmp_path / "bundles", "1")

    # provision

    async def test_provisioning_twice_adopts(self, harness: BackendHarness, spec: SandboxSpec, bundle: Bundle) -> None:
        first = await harness.open().provision(spec)
        await harness.open().upload(first, bundle)
        assert await harness.open().provision(spec) == first
        await harness.open().start(first, environment())  # the upload is still there

    async def test_provisioning_at_once_gives_one_sandbox(self, harness: BackendHarness, spec: SandboxSpec) -> None:
        handles = await asyncio.gather(*(harness.open().provision(spec) for _ in range(4)))
        assert len(set(handles)) == 1

    async def test_provision_replaces_what_is_half_made(
        self, harness: BackendHarness, backend: Backend, spec: SandboxSpec, bundle: Bundle
    ) -> None:
        await harness.half_make(spec)
        await backend.health(await started(backend, spec, bundle), NONCE, READY)

    # upload

    async def test_uploading_twice_leaves_a_running_task_app_alone(
        self, backend: Backend, spec: SandboxSpec, bundle: Bundle
    ) -> None:
        sandbox = await started(backend, spec, bundle)
        await backend.health(sandbox, NONCE, READY)
        before = await facts(backend, sandbox)
        await backend.upload(sandbox, bundle)
        assert (await facts(backend, sandbox))["pid"] == before["pid"]

    async def test_another_bundle_replaces_the_first(
        self, backend: Backend, spec: SandboxSpec, bundle: Bundle, tmp_path: Path
    ) -> None:
        await backend.health(await started(backend, spec, bundle), NONCE, READY)
        sandbox = await started(backend, spec, stand_in_bundle(tmp_path / "bundles", "2"))
        await backend.health(sandbox, NONCE, READY)
        assert (await facts(backend, sandbox))["version"] == "2"

    @pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE.keys())
    async def test_a_garbage_bundle_is_refused_and_spoils_nothing(
        self, backend: Backend, spec: SandboxSpec, bundle: Bundle, garbage: Bundle
    ) -> None:
        sandbox = await backend.provision(spec)
        with pytest.raises(ConfigurationError, match="bundle"):
            await backend.upload(sandbox, garbage)
        await backend.health(await started(backend, spec, bundle), NONCE, READY)
        before = await facts(backend, sandbox)
        with pytest.raises(ConfigurationError, match="bundle"):
            await backend.upload(sandbox, garbage)
        assert await facts(backend, sandbox) == before

    # install

    async def test_installing_twice(self, backend: Backend, spec: SandboxSpec, bundle: Bundle) -> None:
        sandbox = await backend.provision(spec)
        await backend.upload(sandbox, bundle)
        await backend.install(sandbox, ("sh",))
        await backend.install(sandbox, ("sh",))

    async def test_a_tool_that_is_nowhere_is_named(self, backend: Backend, spec: SandboxSpec, bundle: Bundle) -> None:
        sandbox = await backend.provision(spec)
        await backend.upload(sandbox, bundle)
        with pytest.raises(ConfigurationError, match="no-such-tool"):
            await backend.install(sandbox, ("no-such-tool",))
        await backend.install(sandbox, ())

    # start

    async def test_starting_twice_finds_the_running_task_app(
        self, harness: BackendHarness, spec: SandboxSpec, bundle: Bundle
    ) -> None:
        first = await started(harness.open(), spec, bundle)
        await harness.open().health(first, NONCE, READY)
        before = await facts(harness.open(), first)
        assert await harness.open().start(first, environment()) == first
        assert (await facts(harness.open(), first))["pid"] == before["pid"]

    async def test_starting_at_once_gives_one_task_app(
        self, harness: BackendHarness, spec: SandboxSpec, bundle: Bundle
    ) -> None:
        sandbox = await harness.open().provision(spec)
        await harness.open().upload(sandbox, bundle)
        handles = await asyncio.gather(*(harness.open().start(sandbox, environment()) for _ in range(3)))
        assert len({handle.url for handle in handles}) == 1
        await harness.open().health(handles[0], NONCE, READY)

    async def test_a_task_app_that_was_killed_is_started_anew(
        self, harness: BackendHarness, backend: Backend, spec: SandboxSpec, bundle: Bundle
    ) -> None:
        first = await started(backend, spec, bundle)
        await backend.health(first, NONCE, READY)
        before = await facts(backend, first)
        await harness.kill_task_app(first)
        second = await started(backend, spec, bundle)
        await backend.health(second, NONCE, READY)
        assert (await facts(backend, second))["pid"] != before["pid"]

    async def test_start_needs_an_upload(self, backend: Backend, spec: SandboxSpec) -> None:
        with pytest.raises(InfrastructureError, match="upload"):
            await backend.start(await backend.provision(spec), environment())

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("TWO_LINES", f"{KEY}\nSECOND=1"),
            ("RETURN", f"{KEY}\r"),
            ("SEPARATOR", f"{KEY}\u2028"),
            ("NUL", f"{KEY}\0"),
            ("", KEY),
            ("A B", KEY),
            ("A=B", KEY),
            ("A\nB", KEY),
        ],
    )
    async def test_an_environment_that_no_file_can_hold_is_refused(
        self, backend: Backend, spec: SandboxSpec, bundle: Bundle, name: str, value: str
    ) -> None:
        sandbox = await backend.provision(spec)
        await backend.upload(sandbox, bundle)
        with pytest.raises(ConfigurationError) as caught:
            await backend.start(sandbox, environment() | {name: SecretStr(value)})
        assert KEY not in "".join(traceback.format_exception(caught.value))
        await backend.health(await backend.start(sandbox, environment()), NONCE, READY)

    async def test_the_task_app_gets_what_it_is_given_and_nothing_else(
        self, backend: Backend, spec: SandboxSpec, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("A_KEY_OF_THE_ORCHESTRATOR", KEY)
        sandbox = await started(backend, spec, bundle)
        await backend.health(sandbox, NONCE, READY)
        seen = await facts(backend, sandbox)
        assert seen["key_digest"] == hashlib.sha256(KEY.encode()).hexdigest()
        assert seen["directory"] == sandbox.workdir
        assert not seen["env_file_exists"]
        assert KEY not in seen["environment"].values()

    # health

    @pytest.mark.parametrize("behaviour", ["behaves", "is-slow"])
    async def test_healthy_twice(self, backend: Backend, spec: SandboxSpec, bundle: Bundle, behaviour: str) -> None:
        sandbox = await started(backend, spec, bundle, behaviour)
        await backend.health(sandbox, NONCE, READY)
        await backend.health(sandbox, NONCE, READY)

    async def test_a_task_app_that_cannot_get_ready_says_why(
        self, backend: Backend, spec: SandboxSpec, bundle: Bundle
    ) -> None:
        sandbox = await started(backend, spec, bundle, "fails")
        with pytest.raises(ConfigurationError, match="the slots can't be warmed"):
            await backend.health(sandbox, NONCE, READY)

    async def test_a_task_app_that_dies_at_once_shows_the_end_of_its_log(
        self, backend: Backend, spec: SandboxSpec, bundle: Bundle
    ) -> None:
        sandbox = await started(backend, spec, bundle, "dies")
        with pytest.raises(InfrastructureError, match="the end is near") as caught:
            await backend.health(sandbox, NONCE, READY)
        assert "line 52\n" in str(caught.value)
        assert "line 51\n" not in str(caught.value)

    async def test_a_task_app_that_can_not_even_be_imported_says_so(
        self, backend: Backend, spec: SandboxSpec, tmp_path: Path
    ) -> None:
        sandbox = await started(backend, spec, broken_bundle(tmp_path / "broken"))
        with pytest.raises(InfrastructureError, match="a_module_that_nobody_has"):
            await backend.health(sandbox, NONCE, READY)

    async def test_a_death_while_waiting_ends_the_wait(
        self, harness: BackendHarness, backend: Backend, spec: SandboxSpec, bundle: Bundle
    ) -> None:
        sandbox = await started(backend, spec, bundle, "never-ready")
        await facts(backend, sandbox)  # it serves by now
        waiting = asyncio.create_task(backend.health(sandbox, NONCE, timeout=3600))
        await harness.kill_task_app(sandbox)
        async with asyncio.timeout(READY):
            with pytest.raises(InfrastructureError):
                await waiting

    async def test_a_dead_task_app_is_not_healthy(
        self, harness: BackendHarness, backend: Backend, spec: SandboxSpec, bundle: Bundle
    ) -> None:
        sandbox = await started(backend, spec, bundle)
        await backend.health(sandbox, NONCE, READY)
        await harness.kill_task_app(sandbox)
        for _ in range(2):
            with pytest.raises(InfrastructureError):
                await backend.health(sandbox, NONCE, READY)

    async def test_another_nonce_means_another_server(
        self, backend: Backend, spec: SandboxSpec, bundle: Bundle
    ) -> None:
        sandbox = await started(backend, spec, bundle, nonce="another-run")
        with pytest.raises(InfrastructureError, match=r"[Aa]nother server .* port \d+"):
            await backend.health(sandbox, NONCE, READY)

    async def test_a_task_app_that_never_gets_ready_runs_out_of_time(
        self, backend: Backend, spec: SandboxSpec, bundle: Bundle
    ) -> None:
        sandbox = await started(backend, spec, bundle, "never-ready")
        await facts(backend, sandbox)
        with pytest.raises(InfrastructureError, match="not ready within 1 s"):
            await backend.health(sandbox, NONCE, timeout=1)

    # endpoint, log

    async def test_without_a_start_there_is_no_health_no_endpoint_and_no_log(
        self, backend: Backend, spec: SandboxSpec, bundle: Bundle
    ) -> None:
        sandbox = await backend.provision(spec)
        await backend.upload(sandbox, bundle)
        assert sandbox.url is None
        assert await backend.log(sandbox) == ""
        with pytest.raises(InfrastructureError):
            await backend.endpoint(sandbox)
        with pytest.raises(InfrastructureError):
            await backend.health(sandbox, NONCE, READY)

    async def test_the_log_ends_where_it_ends(self, backend: Backend, spec: SandboxSpec, bundle: Bundle) -> None:
        sandbox = await started(backend, spec, bundle, "dies")
        with pytest.raises(InfrastructureError):
            await backend.health(sandbox, NONCE, READY)
        assert (await backend.log(sandbox, lines=2)).splitlines() == ["line 100", "the end is near"]
        assert len((await backend.log(sandbox)).splitlines()) == 50
        assert await backend.log(sandbox, lines=0) == ""

    # cleanup

    @pytest.mark.parametrize("stage", STAGES)
    async def test_cleanup_leaves_nothing_at_any_stage(
        self, harness: BackendHarness, spec: SandboxSpec, bundle: Bundle, stage: str
    ) -> None:
        await self._bring_to(stage, harness, spec, bundle)
        await harness.open().cleanup(spec)
        assert await harness.leftovers(spec) == []
        await harness.open().cleanup(spec)
        sandbox = await started(harness.open(), spec, bundle)
        await harness.open().health(sandbox, NONCE, READY)

    async def _bring_to(self, stage: str, harness: BackendHarness, spec: SandboxSpec, bundle: Bundle) -> None:
        backend = harness.open()
        if stage == "half-made":
            await harness.half_make(spec)
        if stage in {"nothing", "half-made"}:
            return
        sandbox = await backend.provision(spec)
        if stage == "provisioned":
            return
        await backend.upload(sandbox, bundle)
        if stage == "uploaded":
            return
        sandbox = await backend.start(sandbox, environment("fails" if stage == "refused" else "behaves"))
        if stage == "refused":
            with pytest.raises(ConfigurationError):
                await backend.health(sandbox, NONCE, READY)
        elif stage != "started":
            await backend.health(sandbox, NONCE, READY)
        if stage == "dead":
            await harness.kill_task_app(sandbox)

    async def test_cleanup_ends_what_ignores_being_asked(
        self, harness: BackendHarness, backend: Backend, spec: SandboxSpec, bundle: Bundle
    ) -> None:
        await backend.health(await started(backend, spec, bundle, "is-stubborn"), NONCE, READY)
        await harness.open().cleanup(spec)
        assert await harness.leftovers(spec) == []

    async def test_cleanup_ends_the_children_of_a_dead_task_app(
        self, harness: BackendHarness, backend: Backend, spec: SandboxSpec, bundle: Bundle
    ) -> None:
        sandbox = await started(backend, spec, bundle, "leaves-children")
        await backend.health(sandbox, NONCE, READY)
        await harness.kill_task_app(sandbox)
        await harness.open().cleanup(spec)
        assert await harness.leftovers(spec) == []

    @pytest.mark.parametrize("verb", ["provision", "upload", "start", "health"])
    async def test_cleanup_after_a_cancelled_verb(
        self, harness: BackendHarness, spec: SandboxSpec, bundle: Bundle, verb: str
    ) -> None:
        backend = harness.open()
        steps: dict[str, Callable[[Sandbox | None], Awaitable[Any]]] = {
            "provision": lambda _: backend.provision(spec),
            "upload": lambda sandbox: backend.upload(_given(sandbox), bundle),
            "start": lambda sandbox: backend.start(_given(sandbox), environment("never-ready")),
            "health": lambda sandbox: backend.health(_given(sandbox), NONCE, timeout=3600),
        }
        sandbox = None
        for name, step in steps.items():
            running = asyncio.ensure_future(step(sandbox))
            if name == verb:
                await asyncio.sleep(0)  # it has begun
                running.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await running
                break
            sandbox = await running or sandbox
        await harness.open().cleanup(spec)
        assert await harness.leftovers(spec) == []

    async def test_cleanup_leaves_the_sandbox_of_another_run_alone(
        self, harness: BackendHarness, backend: Backend, spec: SandboxSpec, bundle: Bundle
    ) -> None:
        sandbox = await started(backend, spec, bundle)
        await harness.open().cleanup(spec.model_copy(update={"run_id": "another-run"}))
        await backend.health(sandbox, NONCE, READY)

    @pytest.mark.parametrize("before", ["never provisioned", "cleaned up"])
    @pytest.mark.parametrize("verb", ["upload", "install", "start", "health", "endpoint"])
    async def test_a_sandbox_that_is_not_there_is_named(
        self, harness: BackendHarness, spec: SandboxSpec, bundle: Bundle, verb: str, before: str
    ) -> None:
        backend = harness.open()
        sandbox = await backend.provision(spec)
        if before == "cleaned up":
            await backend.health(await started(backend, spec, bundle), NONCE, READY)
        await harness.open().cleanup(spec)
        verbs: dict[str, Callable[[], Awaitable[Any]]] = {
            "upload": lambda: backend.upload(sandbox, bundle),
            "install": lambda: backend.install(sandbox, ()),
            "start": lambda: backend.start(sandbox, environment()),
            "health": lambda: backend.health(sandbox, NONCE, READY),
            "endpoint": lambda: backend.endpoint(sandbox),
        }
        with pytest.raises(SandboxNotFound, match=spec.name):
            await verbs[verb]()
        assert await backend.log(sandbox) == ""

    # list

    async def test_list_finds_what_other_processes_made(
        self, harness: BackendHarness, make_spec: MakeSpec, bundle: Bundle
    ) -> None:
        before = datetime.now(UTC)
        idle, running = make_spec(), make_spec()
        await harness.open().provision(idle)
        await started(harness.open(), running, bundle)
        records = {record.spec.name: record for record in await harness.open().list()}
        for spec in (idle, running):
            record = records[spec.name]
            assert (record.spec.run_id, record.spec.lane) == (spec.run_id, spec.lane)
            lifetime = timedelta(seconds=spec.lifetime)
            assert before - A_MINUTE < record.expires_at - lifetime < datetime.now(UTC) + A_MINUTE
            assert record.owner_alive is not False
        await harness.open().cleanup(records[idle.name].spec)
        assert await harness.leftovers(idle) == []
        left = [record.spec.name for record in await harness.open().list()]
        assert running.name in left
        assert idle.name not in left

    async def test_list_shows_a_dead_task_apps_sandbox_too(
        self, harness: BackendHarness, backend: Backend, spec: SandboxSpec, bundle: Bundle
    ) -> None:
        await harness.kill_task_app(await started(backend, spec, bundle))
        assert spec.name in [record.spec.name for record in await harness.open().list()]

    # side by side

    async def test_sandboxes_side_by_side_on_one_wanted_port(
        self, harness: BackendHarness, make_spec: MakeSpec, bundle: Bundle
    ) -> None:
        specs = [make_spec() for _ in range(3)]
        sandboxes = await asyncio.gather(
            *(started(harness.open(), spec, bundle, nonce=f"nonce-{spec.lane}") for spec in specs)
        )
        assert len({sandbox.url for sandbox in sandboxes}) == len(specs)
        await asyncio.gather(*(self._healthy(harness, *pair) for pair in zip(sandboxes, specs, strict=True)))
        await harness.open().cleanup(specs[0])
        assert await harness.leftovers(specs[0]) == []
        await asyncio.gather(*(self._healthy(harness, *pair) for pair in zip(sandboxes[1:], specs[1:], strict=True)))

    async def _healthy(self, harness: BackendHarness, sandbox: Sandbox, spec: SandboxSpec) -> None:
        await harness.open().health(sandbox, f"nonce-{spec.lane}", READY)

    # secrets

    @pytest.mark.parametrize("behaviour", ["behaves", "fails", "dies", "is-broken"])
    async def test_no_key_shows_anywhere(
        self,
        harness: BackendHarness,
        spec: SandboxSpec,
        tmp_path: Path,
        behaviour: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        backend = harness.open()
        broken = behaviour == "is-broken"
        bundle = broken_bundle(tmp_path / "broken") if broken else stand_in_bundle(tmp_path, "1")
        sandbox = await started(backend, spec, bundle, behaviour)
        said = [repr(sandbox), sandbox.model_dump_json(), repr(backend)]
        try:
            await backend.health(sandbox, NONCE, READY)
        except EngineBenchError as error:
            said.append("".join(traceback.format_exception(error)))
        else:
            said.append(repr(await backend.endpoint(sandbox)))
        said += [await backend.log(sandbox), await harness.exposed(sandbox), caplog.text]
        assert [text for text in said if KEY in text] == []


def _given(sandbox: Sandbox | None) -> Sandbox:
    assert sandbox is not None
    return sandbox
