"""Each fault of the emulator against each verb: it succeeds by its own tries or says what is wrong; nothing is left."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from pydantic import SecretStr

from core.errors import ConfigurationError, EngineBenchError, InfrastructureError
from core.settings import Settings
from sandboxes.base import Machine, Sandbox, SandboxSpec
from sandboxes.bundle import Bundle
from sandboxes.conformance_kit import NONCE, READY, environment, stand_in_bundle
from sandboxes.daytona import DaytonaBackend
from sandboxes.daytona.patience import Patience
from tests.daytona_emulator import Emulator, emulator
from tests.sandboxes.daytona_harness import (
    DaytonaHarness,
    in_this_loop,
    new_spec,
    settings_for,
    skip_without_commands,
)

PATIENCE = Patience(create=20, quota=3, delete=20, call=4, quota_pause=0.2)
VERBS = ("provision", "upload", "install", "start", "health", "endpoint", "expose", "keep_alive", "cleanup")
EXECUTE, SESSION = "POST /toolbox/.*/process/execute", "/toolbox/.*/process/session"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_emu() -> AsyncIterator[Emulator]:
    async with emulator() as running:
        skip_without_commands(running)
        yield running


@pytest.fixture
async def emu(shared_emu: Emulator) -> AsyncIterator[Emulator]:
    async with in_this_loop(shared_emu) as running:
        yield running
        await running.clear_faults()


@pytest.fixture
async def harness(emu: Emulator) -> AsyncIterator[DaytonaHarness]:
    async with AsyncExitStack() as stack:
        yield DaytonaHarness(emu, stack, PATIENCE)


@pytest.fixture
async def backend(harness: DaytonaHarness) -> DaytonaBackend:
    return harness.open_daytona()


@pytest.fixture
async def spec(harness: DaytonaHarness) -> AsyncIterator[SandboxSpec]:
    """Whatever the test did, one cleanup without faults leaves the emulator empty."""
    spec = new_spec()
    yield spec
    await harness.emu.clear_faults()
    await harness.open().cleanup(spec)
    assert await harness.emu.sandboxes() == []


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return stand_in_bundle(tmp_path / "bundles", "1")


class Life:
    """The verbs in the flow's order, one at a time."""

    def __init__(self, backend: DaytonaBackend, spec: SandboxSpec, bundle: Bundle) -> None:
        self._backend, self._spec, self._bundle = backend, spec, bundle
        self._sandbox: Sandbox | None = None

    async def until(self, verb: str) -> None:
        """Everything before it."""
        for earlier in VERBS[: VERBS.index(verb)]:
            await self.do(earlier)

    async def after(self, verb: str) -> None:
        """Everything after it."""
        for later in VERBS[VERBS.index(verb) + 1 :]:
            await self.do(later)

    async def do(self, verb: str) -> None:
        if verb == "provision":
            self._sandbox = await self._backend.provision(self._spec)
            return
        assert self._sandbox
        sandbox = self._sandbox
        verbs: dict[str, Callable[[], Awaitable[Any]]] = {
            "upload": lambda: self._backend.upload(sandbox, self._bundle),
            "install": lambda: self._backend.install(sandbox, ("sh",)),
            "start": lambda: self._backend.start(sandbox, environment()),
            "health": lambda: self._backend.health(sandbox, NONCE, READY),
            "endpoint": lambda: self._backend.endpoint(sandbox),
            "expose": lambda: self._backend.endpoint(sandbox, public_for=60),
            "keep_alive": lambda: self._backend.keep_alive(sandbox),
            "cleanup": lambda: self._backend.cleanup(self._spec),
        }
        await verbs[verb]()


class Survived(NamedTuple):
    """A fault that a verb gets over by itself."""

    verb: str
    kind: Any
    options: dict[str, Any]


IN_THE_TOOLBOX = ("upload", "install", "start", "health", "endpoint")

SURVIVED = [
    Survived("provision", "rate_limited", {"match": "POST /sandbox$"}),
    *(Survived("provision", "error", {"match": "POST /sandbox$", "status": status}) for status in (500, 502, 503)),
    Survived("provision", "quota", {"times": 2}),
    Survived("provision", "slow_boot", {"seconds": 1}),
    Survived("provision", "slow_build", {"seconds": 1}),
    Survived("provision", "create_timeout", {"seconds": 1}),
    Survived("upload", "error", {"match": "bulk-upload"}),
    Survived("upload", "error", {"match": EXECUTE}),
    Survived("install", "error", {"match": f"POST {SESSION}$", "status": 503}),
    Survived("install", "error", {"match": f"POST {SESSION}/.*/exec"}),
    Survived("install", "error", {"match": "WEBSOCKET /toolbox"}),
    Survived("install", "toolbox_down", {"match": "WEBSOCKET /toolbox"}),
    Survived("install", "error", {"match": f"GET {SESSION}/.*/command"}),
    Survived("start", "error", {"match": "bulk-upload"}),
    Survived("start", "error", {"match": f"POST {SESSION}$"}),
    Survived("start", "error", {"match": f"POST {SESSION}/.*/exec"}),
    Survived("start", "error", {"match": "preview-url"}),
    Survived("start", "rate_limited", {"match": "preview-url"}),
    Survived("health", "toolbox_down", {"match": "GET /preview/8000/health", "times": 3}),
    Survived("health", "error", {"match": EXECUTE}),
    Survived("endpoint", "error", {"match": EXECUTE, "status": 502}),
    Survived("expose", "error", {"match": "signed-preview-url", "status": 502}),
    Survived("expose", "rate_limited", {"match": "signed-preview-url"}),
    Survived("keep_alive", "error", {"match": "last-activity", "status": 502}),
    Survived("keep_alive", "rate_limited", {"match": "last-activity"}),
    *(Survived(verb, "toolbox_down", {"lasts": 1.5}) for verb in IN_THE_TOOLBOX),
    *(Survived(verb, "error", {"match": "/toolbox/", "status": 429}) for verb in IN_THE_TOOLBOX),
    Survived("cleanup", "conflict", {"match": "DELETE", "times": 2}),
    Survived("cleanup", "error", {"match": "DELETE /sandbox", "status": 502}),
    Survived("cleanup", "error", {"match": "DELETE /sandbox", "status": 404}),
    Survived("cleanup", "error", {"match": "GET /sandbox", "status": 503}),
    Survived("cleanup", "rate_limited", {"match": "DELETE /sandbox"}),
    Survived("cleanup", "stuck_deleting", {"seconds": 1}),
    Survived("cleanup", "delete_denied", {"times": None}),
]


@pytest.mark.parametrize("fault", SURVIVED, ids=lambda fault: f"{fault.verb}-{fault.kind}-{fault.options}")
async def test_what_passes_is_survived(
    emu: Emulator, backend: DaytonaBackend, spec: SandboxSpec, bundle: Bundle, fault: Survived
) -> None:
    life = Life(backend, spec, bundle)
    await life.until(fault.verb)
    await emu.fault(fault.kind, **fault.options)
    await life.do(fault.verb)
    await life.after(fault.verb)
    assert await emu.sandboxes() == []


class Told(NamedTuple):
    """A fault that ends a verb, and what it says then."""

    verb: str
    kind: Any
    options: dict[str, Any]
    error: type[EngineBenchError]
    message: str


FOREVER: dict[str, Any] = {"times": None}
TOLD = [
    Told("provision", "failed_boot", {"message": "no runner"}, InfrastructureError, "no runner"),
    Told("provision", "build_failed", {"message": "no such image"}, InfrastructureError, "no such image"),
    Told("provision", "quota", FOREVER, InfrastructureError, "Daytona's quota is exhausted: .*Total CPU limit"),
    Told(
        "provision",
        "rate_limited",
        {"match": "POST /sandbox$", **FOREVER},
        InfrastructureError,
        "Daytona's rate limit held",
    ),
    Told("provision", "error", {"match": "POST", "status": 401}, ConfigurationError, "Daytona refused the API key"),
    Told("provision", "error", {"match": "POST", "status": 403}, ConfigurationError, "permission"),
    Told("provision", "error", {"match": "POST", "status": 400}, ConfigurationError, "refused to create"),
    Told(
        *("provision", "error", {"match": "POST", "status": 404, "message": "Region mars not found"}),
        *(ConfigurationError, "Region mars.*DAYTONA_TARGET"),
    ),
    Told("provision", "error", {"match": "POST /sandbox$", **FOREVER}, InfrastructureError, "HTTP 500"),
    *(
        Told(verb, "toolbox_down", FOREVER, InfrastructureError, "(HTTP 502)|not ready")
        for verb in ("upload", "install", "start", "endpoint")
    ),
    *(
        Told(
            verb,
            "error",
            {"match": "toolbox", "status": 401, **FOREVER},
            ConfigurationError,
            "Daytona refused the API key",
        )
        for verb in ("upload", "install", "start", "endpoint")
    ),
    *(
        Told(
            "start",
            "error",
            {"match": "preview-url", "status": status},
            ConfigurationError,
            "Preview URL not available",
        )
        for status in (403, 404)
    ),
    Told("cleanup", "stuck_deleting", {"seconds": 0}, InfrastructureError, "took too long to delete"),
    Told("cleanup", "conflict", {"match": "DELETE", **FOREVER}, InfrastructureError, "delete sandbox eb-.*409"),
    Told("cleanup", "error", {"match": "DELETE", **FOREVER}, InfrastructureError, "HTTP 500"),
    Told("cleanup", "error", {"match": "DELETE", "status": 401}, ConfigurationError, "Daytona refused the API key"),
]


@pytest.mark.parametrize("fault", TOLD, ids=lambda fault: f"{fault.verb}-{fault.kind}-{fault.options}")
async def test_what_does_not_pass_is_told(
    harness: DaytonaHarness, spec: SandboxSpec, bundle: Bundle, fault: Told
) -> None:
    backend = DaytonaBackend(settings_for(harness.emu), dataclasses.replace(PATIENCE, delete=3, call=1))
    life = Life(backend, spec, bundle)
    try:
        await life.until(fault.verb)
        await harness.emu.fault(fault.kind, **fault.options)
        with pytest.raises(fault.error, match=fault.message):
            await life.do(fault.verb)
        if fault.verb == "provision":
            assert await harness.emu.sandboxes() == []  # before any cleanup
    finally:
        await backend.aclose()


FROM_A_SNAPSHOT: list[tuple[Any, dict[str, Any], str | None]] = [
    ("rate_limited", {"match": "POST /sandbox$"}, None),
    ("error", {"match": "POST /sandbox$", "status": 502}, None),
    ("quota", {"times": 2}, None),
    ("slow_boot", {"seconds": 1}, None),
    ("create_timeout", {"seconds": 1}, None),
    ("failed_boot", {"message": "no runner"}, "no runner"),
]


@pytest.mark.parametrize(("kind", "options", "message"), FROM_A_SNAPSHOT, ids=str)
async def test_a_sandbox_from_a_snapshot_meets_the_same_faults(
    emu: Emulator, backend: DaytonaBackend, spec: SandboxSpec, kind: Any, options: dict[str, Any], message: str | None
) -> None:
    await emu.fault(kind, **options)
    spec = spec.model_copy(update={"machine": Machine(snapshot="daytona-small")})
    if message:
        with pytest.raises(InfrastructureError, match=message):
            await backend.provision(spec)
    else:
        await backend.provision(spec)
        await backend.cleanup(spec)
    assert await emu.sandboxes() == []


BEHIND_A_FAILURE: list[tuple[Any, dict[str, Any]]] = [
    ("conflict", {"match": "DELETE", "times": 2}),
    ("stuck_deleting", {"seconds": 1}),
    ("error", {"match": "DELETE /sandbox", "status": 502}),
    ("rate_limited", {"match": "DELETE /sandbox"}),
]


@pytest.mark.parametrize(("kind", "options"), BEHIND_A_FAILURE, ids=str)
async def test_what_a_failed_create_leaves_is_removed_through_another_fault(
    emu: Emulator, backend: DaytonaBackend, spec: SandboxSpec, kind: Any, options: dict[str, Any]
) -> None:
    await emu.fault("failed_boot", message="no runner")
    await emu.fault(kind, **options)
    with pytest.raises(InfrastructureError, match="failed to create"):
        await backend.provision(spec)
    assert await emu.sandboxes() == []


@pytest.mark.parametrize("machine", [Machine(), Machine(snapshot="daytona-small")], ids=["image", "snapshot"])
@pytest.mark.parametrize(
    ("kind", "options"),
    [("create_timeout", {"seconds": 60}), ("slow_boot", {"seconds": 3})],
    ids=["answer-late", "boot-late"],
)
async def test_a_create_that_takes_too_long_leaves_nothing(
    harness: DaytonaHarness, spec: SandboxSpec, machine: Machine, kind: Any, options: dict[str, Any]
) -> None:
    backend = DaytonaBackend(settings_for(harness.emu), dataclasses.replace(PATIENCE, create=1))
    await harness.emu.fault(kind, **options)
    try:
        with pytest.raises(InfrastructureError, match="too long"):
            await backend.provision(spec.model_copy(update={"machine": machine}))
        assert await harness.emu.sandboxes() == []
    finally:
        await backend.aclose()


async def test_a_cancelled_create_leaves_nothing(emu: Emulator, backend: DaytonaBackend, spec: SandboxSpec) -> None:
    await emu.fault("slow_boot", seconds=2)
    creating = asyncio.create_task(backend.provision(spec))
    while not await emu.sandboxes():  # noqa: ASYNC110 - in another process
        await asyncio.sleep(0.05)
    creating.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creating
    assert await emu.sandboxes() == []


async def test_when_deleting_and_stopping_are_refused_the_sandbox_left_behind_is_named(
    emu: Emulator, backend: DaytonaBackend, spec: SandboxSpec
) -> None:
    await backend.provision(spec)
    await emu.fault("delete_denied", times=None)
    await emu.fault("error", match="POST /sandbox/.*/stop", status=403, times=None)
    with pytest.raises(ConfigurationError, match=f"Sandbox {spec.name} is left behind"):
        await backend.cleanup(spec)
    assert len(await emu.sandboxes()) == 1


async def test_an_api_that_is_not_there_is_named() -> None:
    settings = Settings(daytona_api_key="dtn_not_a_key", daytona_api_url="http://127.0.0.1:9/api")
    backend = DaytonaBackend(settings, dataclasses.replace(PATIENCE, call=0.5))
    spec = new_spec()
    sandbox = Sandbox(backend="daytona", name=spec.name, id="gone", workdir="/app")
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: backend.provision(spec),
        lambda: backend.endpoint(sandbox),
        lambda: backend.cleanup(spec),
        backend.list,
    ]
    try:
        for call in calls:
            with pytest.raises(InfrastructureError, match=r"Daytona can't be reached.*DAYTONA_API_URL"):
                await call()
    finally:
        await backend.aclose()


async def test_a_wrong_key_is_refused(emu: Emulator) -> None:
    backend = DaytonaBackend(settings_for(emu).model_copy(update={"daytona_api_key": SecretStr("wrong-key")}))
    try:
        with pytest.raises(ConfigurationError, match="Daytona refused the API key") as caught:
            await backend.provision(new_spec())
        assert "wrong-key" not in str(caught.value)
    finally:
        await backend.aclose()
