"""The verbs of the Daytona backend."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Mapping, Sequence

from daytona import AsyncDaytona, DaytonaError
from daytona.common.sandbox import ListSandboxesQuery
from daytona_api_client_async import SandboxState
from pydantic import SecretStr

from core.errors import InfrastructureError
from core.settings import Settings
from sandboxes.base import Backend, Endpoint, Machine, Sandbox, SandboxNotFound, SandboxRecord, SandboxSpec, env_file
from sandboxes.bundle import Bundle, check
from sandboxes.daytona import provisioning, snapshots
from sandboxes.daytona.client import check_key, open_client
from sandboxes.daytona.errors import explained, explaining, is_gone, persistently
from sandboxes.daytona.images import define
from sandboxes.daytona.labels import APP, is_of, record_of
from sandboxes.daytona.patience import Patience
from sandboxes.daytona.remote import (
    GONE,
    Place,
    Remote,
    content_digest,
    inside_source,
    state_of,
    together,
)
from sandboxes.daytona.removal import reap, remove
from sandboxes.health import wait_until_healthy, with_log

_WATCH = 20
"""Seconds of one look at the task app; less than any proxy's limit."""

logger = logging.getLogger(__name__)


class DaytonaBackend(Backend):
    """Sandboxes as machines in Daytona's cloud.

    It remembers the sandboxes that it has seen, to save requests; everything there is to know about one is in the
    sandbox itself and its labels, so any other object can go on with it. Use it in one event loop, and close it there.
    """

    name = "daytona"
    starts_at_a_time = 32

    def __init__(self, settings: Settings, patience: Patience | None = None) -> None:
        check_key(settings)
        self._settings = settings
        self._patience = patience or Patience()
        self._client: AsyncDaytona | None = None
        self._remotes: dict[str, Remote] = {}

    async def aclose(self) -> None:
        """Hang up. The sandboxes stay."""
        self._remotes.clear()
        client, self._client = self._client, None
        if client:
            await client.close()  # type: ignore[no-untyped-call]

    async def prepare(self, machine: Machine, bundle: Bundle, tools: tuple[str, ...]) -> Machine:
        """With `auto`, build the snapshot or find it; any other is checked. The machine returned names one, or `none`.

        A snapshot only saves time, so where one can't be built there is a warning, and the image serves.
        """
        if machine.snapshot == "none":
            return machine
        if machine.snapshot != "auto":
            await snapshots.activate(self._sdk, machine.snapshot, patience=self._patience.build)
            return machine
        definition = define(machine, bundle, tools)
        try:
            patience = machine.build_timeout or self._patience.build
            await snapshots.build(self._sdk, definition, patience=patience, show=logger.info)
        except InfrastructureError as error:
            logger.warning("Sandboxes start from their image, which takes longer. %s", error)
            return machine.model_copy(update={"snapshot": "none"})
        return machine.model_copy(update={"snapshot": definition.name})

    async def provision(self, spec: SandboxSpec) -> Sandbox:
        box, is_new = await provisioning.provision(self._sdk, spec, self._patience)
        # What has just been made from an image is empty: it need not be asked.
        blank = is_new and not provisioning.from_snapshot(spec.machine)
        place = Place.of(spec.machine)
        self._remotes[box.id] = Remote(box, spec.name, place, self._patience, blank=blank)
        return Sandbox(backend=self.name, name=spec.name, id=box.id, workdir=place.root)

    async def upload(self, sandbox: Sandbox, bundle: Bundle) -> None:
        await asyncio.to_thread(check, bundle)  # refused here, with the reason, before anything is sent
        remote = await self._remote(sandbox)
        digest = content_digest(bundle)
        remote.held = not remote.blank and await _holds(remote, digest)
        remote.blank = False
        if remote.held:
            return
        await remote.upload(
            {f"{remote.place.state}/bundle.tar.gz": bundle.archive, remote.place.inside: inside_source()}
        )
        await remote.run("unpack", digest)

    async def install(self, sandbox: Sandbox, tools: tuple[str, ...]) -> None:
        remote = await self._remote(sandbox)
        # To look takes one request; to install, and to show what that says, takes four.
        if remote.held and await remote.run("installed", *tools) == "yes":
            return
        await remote.run_shown("install", *tools, show=logger.info)

    async def start(self, sandbox: Sandbox, environment: Mapping[str, SecretStr]) -> Sandbox:
        variables = env_file(environment).encode()
        remote = await self._remote(sandbox)
        # A name of its own: of two that start at once, the one that comes too late removes its own file only.
        file = f"{remote.place.state}/private/{secrets.token_hex(4)}.env"
        await together(remote.upload({file: variables}), remote.open_session(), remote.endpoint())
        await remote.start(file)
        return sandbox.model_copy(update={"url": (await remote.endpoint()).url})

    async def health(self, sandbox: Sandbox, nonce: str, timeout: float) -> None:
        remote = await self._remote(sandbox)
        await wait_until_healthy(
            await remote.endpoint(),
            nonce,
            timeout,
            died=self._death(remote, sandbox),
            log=lambda: self.log(sandbox),
            trust_env=True,
        )

    async def endpoint(self, sandbox: Sandbox, public_for: int | None = None) -> Endpoint:
        remote = await self._remote(sandbox)
        status = await remote.run("status")
        if status not in {"starting", "running"}:
            log = await self.log(sandbox)
            raise InfrastructureError(with_log(f"The task app of sandbox {sandbox.name} does not run ({status}).", log))
        return await (remote.endpoint() if public_for is None else remote.signed_endpoint(public_for))

    async def keep_alive(self, sandbox: Sandbox) -> None:
        await (await self._remote(sandbox)).refresh_activity()

    async def log(self, sandbox: Sandbox, lines: int = 50) -> str:
        return await self._tail(sandbox, "log", lines)

    async def install_log(self, sandbox: Sandbox, lines: int = 50) -> str:
        return await self._tail(sandbox, "install-log", lines)

    async def cleanup(self, spec: SandboxSpec) -> None:
        known = next((remote for remote in self._remotes.values() if remote.name == spec.name), None)
        if not (known and is_of(known.box, spec) and await remove(known.box, spec.name, self._patience)):
            await reap(self._sdk, spec, self._patience)
        if known:
            del self._remotes[known.box.id]

    async def list(self) -> Sequence[SandboxRecord]:
        async def ours() -> tuple[SandboxRecord, ...]:
            query = ListSandboxesQuery(labels=APP)
            boxes = [box async for box in self._sdk.list(query) if box.state not in GONE]
            return tuple(record for box in boxes if (record := record_of(box)))

        return await explaining("list sandboxes", ours, self._patience.call)

    @property
    def _sdk(self) -> AsyncDaytona:
        if self._client is None:
            self._client = open_client(self._settings)
        return self._client

    async def _remote(self, sandbox: Sandbox) -> Remote:
        if known := self._remotes.get(sandbox.id):
            return known
        try:
            box = await persistently("look for a sandbox", lambda: self._sdk.get(sandbox.id), self._patience.call)
        except DaytonaError as error:
            if is_gone(error):
                raise SandboxNotFound(sandbox.name, backend=self.name) from None
            raise explained(error, f"look for sandbox {sandbox.name}") from None
        if box.state in GONE:
            raise SandboxNotFound(sandbox.name, backend=self.name)
        if box.state != SandboxState.STARTED:
            raise InfrastructureError(f"Sandbox {sandbox.name} is not started, but {state_of(box)}. Run it again.")
        return self._remotes.setdefault(sandbox.id, Remote(box, sandbox.name, Place(sandbox.workdir), self._patience))

    async def _death(self, remote: Remote, sandbox: Sandbox) -> None:
        """Ends when the task app does, by raising what became of it."""
        while (status := await remote.run("watch", str(_WATCH))) in {"starting", "running"}:
            continue
        ended = "was not started" if status == "idle" else status.replace("ended", "ended with code")
        message = f"Task app failed to start in sandbox {sandbox.name}: it {ended}."
        raise InfrastructureError(with_log(message, await self.log(sandbox)))

    async def _tail(self, sandbox: Sandbox, verb: str, lines: int) -> str:
        try:
            return await (await self._remote(sandbox)).run(verb, str(lines))
        except SandboxNotFound:
            return ""
        except InfrastructureError as error:
            logger.info("Sandbox %s shows no log: %s", sandbox.name, error)
            return ""


async def _holds(remote: Remote, digest: str) -> bool:
    with contextlib.suppress(InfrastructureError):  # there is nothing to ask yet
        return await remote.run("holds", digest) == "yes"
    return False
