"""One started sandbox: files go up, commands run, the preview link opens its port."""

import asyncio
import contextlib
import hashlib
import logging
import secrets
import shlex
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from daytona import AsyncSandbox, DaytonaConflictError, DaytonaError, SessionExecuteRequest
from daytona.common.filesystem import FileUpload
from daytona_api_client_async import SandboxState
from pydantic import SecretStr

from core.errors import ConfigurationError, InfrastructureError
from core.redaction import redact
from sandboxes.base import Endpoint, Machine, SandboxNotFound, SandboxUnusable
from sandboxes.bundle import Bundle
from sandboxes.daytona import inside
from sandboxes.daytona.errors import DASHBOARD, explained, is_gone, persistently
from sandboxes.daytona.patience import Patience

PORT = 8000
"""A sandbox has its ports to itself."""

GONE = {SandboxState.DESTROYING, SandboxState.DESTROYED}
TOKEN_HEADER = "x-daytona-preview-token"  # noqa: S105 - its name, not the token
BAD_GATEWAY = 502
"""What Daytona answers in the place of a sandbox's toolbox that it does not reach."""
LONGEST_SIGNATURE = 24 * 3600
"""Seconds that a signed preview URL can be valid for at most."""

_COMMAND_TIMEOUT = 120
_NO_PYTHON = 127
_TAIL = 20
"""Lines of a failed command's output that its error shows."""
_POLL = 1.0

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where in a sandbox our own files are."""

    root: str
    """The work directory, into which the bundle is unpacked, and in which nothing else is."""

    @classmethod
    def of(cls, machine: Machine) -> "Place":
        """/app, unless that is the image's own."""
        return cls("/opt/engine-bench" if machine.dockerfile else "/app")

    @property
    def state(self) -> str:
        return f"{self.root}/{inside.STATE_NAME}"

    @property
    def inside(self) -> str:
        return f"{self.state}/inside.py"

    def command(self, verb: str, *arguments: str) -> str:
        """Runs a verb of `inside.py`."""
        return shlex.join(["python3", self.inside, verb, *arguments])


def inside_source() -> bytes:
    """What is uploaded as `inside.py`."""
    return Path(inside.__file__).read_bytes()


def content_digest(bundle: Bundle) -> str:
    """Names what an upload brings: the bundle, and the verbs that come with it."""
    return hashlib.sha256(bundle.digest.encode() + inside_source()).hexdigest()


class Remote:
    """A sandbox that is (or was) started. Errors are in our words, and SandboxUnusable where it is gone."""

    def __init__(self, box: AsyncSandbox, name: str, place: Place, patience: Patience, *, blank: bool = False) -> None:
        """`blank`: nothing was uploaded into it yet, for certain."""
        self.box = box
        self.name = name
        self.place = place
        self.blank = blank
        self.held = False
        """What was to be uploaded was there already."""
        self._patience = patience.call
        self._endpoint: Endpoint | None = None
        self._session: str | None = None

    async def upload(self, files: Mapping[str, bytes]) -> None:
        """One request for all files. Keys are absolute paths; their folders are made."""
        uploads = [FileUpload(source=content, destination=path) for path, content in files.items()]
        await self._call("upload files", lambda: self.box.fs.upload_files(uploads))

    async def run(self, verb: str, *arguments: str, timeout: int = _COMMAND_TIMEOUT) -> str:
        """The answer of a verb of `inside.py`, which may take so many seconds.

        Raises:
            ConfigurationError: it refused, or the image has no Python.
            InfrastructureError: it failed, or nothing was uploaded yet.
        """
        command = self.place.command(verb, *arguments)
        done = await self._call(f"run `{verb}`", lambda: self.box.process.exec(command, cwd="/", timeout=timeout))
        self._check(verb, int(done.exit_code), done.result)
        return done.result.removesuffix("\n")

    async def open_session(self) -> str:
        """The session for what takes long. It is one shell, so one such thing at a time."""
        if self._session is None:
            session = f"engine-bench-{secrets.token_hex(4)}"
            await self._call("open a session", lambda: self._create_session(session))
            self._session = session
        return self._session

    async def run_shown(self, verb: str, *arguments: str, show: Callable[[str], None]) -> None:
        """Run a verb of `inside.py` that takes long, and show each line of its output as it comes."""
        # Until it has ended, nobody else can have it.
        session, self._session = await self.open_session(), None
        request = SessionExecuteRequest(command=self.place.command(verb, *arguments), run_async=True)
        begun = await self._call("run a command", lambda: self.box.process.execute_session_command(session, request))
        command_id = str(begun.cmd_id)
        lines = _Lines(show)
        try:
            await self.box.process.get_session_command_logs_async(session, command_id, lines.add, lines.add)
        except DaytonaError as error:
            logger.warning("Lost sight of `%s` in sandbox %s: %s", verb, self.name, redact(str(error)))
        lines.end()
        self._check(verb, await self._exit_code(session, command_id), "\n".join(lines.last))
        self._session = session

    async def start(self, env_file: str) -> None:
        """Start the task app, with the environment in a file that was uploaded before, and is used up."""
        start = self.place.command("start", env_file, str(PORT))
        # Where nothing else was uploaded, nothing but this would remove the keys.
        command = f"{start} || (code=$?; rm -f {env_file}; exit $code)"
        request = SessionExecuteRequest(command=command)
        session = await self.open_session()
        done = await self._call(
            "start the task app",
            lambda: self.box.process.execute_session_command(session, request, timeout=_COMMAND_TIMEOUT),
        )
        self._check("start", int(done.exit_code or 0), done.output or "")

    async def endpoint(self) -> Endpoint:
        """The private preview URL of the task app's port, with the token that opens it."""
        if self._endpoint is None:
            link = await self._preview(lambda: self.box.get_preview_link(PORT))
            token = SecretStr(link.token)
            redact.hide(token)
            headers = {TOKEN_HEADER: token, "x-daytona-skip-preview-warning": SecretStr("true")}
            self._endpoint = Endpoint(url=link.url.rstrip("/"), headers=headers)
        return self._endpoint

    async def signed_endpoint(self, seconds: int) -> Endpoint:
        """A preview URL that whoever has it can use for so many seconds, a day at most."""
        valid = min(seconds, LONGEST_SIGNATURE)
        signed = await self._preview(lambda: self.box.create_signed_preview_url(PORT, valid))
        redact.hide(SecretStr(signed.url), SecretStr(signed.token))
        return Endpoint(url=signed.url.rstrip("/"))

    async def refresh_activity(self) -> None:
        await self._call("keep the sandbox alive", self.box.refresh_activity)

    def _check(self, verb: str, code: int, output: str) -> None:
        tail = redact("\n".join(output.splitlines()[-_TAIL:]))
        if code == inside.REFUSED:
            raise ConfigurationError(f"Sandbox {self.name} can't {verb}: {tail.splitlines()[-1]}")
        if code == _NO_PYTHON:
            raise ConfigurationError(
                f"Sandbox {self.name} has no `python3`. Choose an image with Python 3.11 or newer."
            )
        if code == inside.EMPTY:
            raise InfrastructureError(f"Sandbox {self.name} holds no task app yet: the upload has to come first.")
        if code:
            raise InfrastructureError(
                f"`{verb}` failed in sandbox {self.name} with exit code {code}. Its output ends with:\n{tail}"
            )

    async def _create_session(self, session: str) -> None:
        with contextlib.suppress(DaytonaConflictError):  # an earlier try has made it, and its answer got lost
            await self.box.process.create_session(session)

    async def _exit_code(self, session: str, command_id: str) -> int:
        while True:
            command = await self._call(
                "look at a command", lambda: self.box.process.get_session_command(session, command_id)
            )
            if command.exit_code is not None:
                return int(command.exit_code)
            await asyncio.sleep(_POLL)

    async def _call(self, doing: str, call: Callable[[], Awaitable[T]]) -> T:
        try:
            return await persistently(doing, call, self._patience)
        except DaytonaError as error:
            await self._raise_if_gone()
            failure = explained(error, f"{doing} in sandbox {self.name}")
            # long after a toolbox that was short of memory would have been back
            raise SandboxUnusable(str(failure)) if error.status_code == BAD_GATEWAY else failure from None

    async def _preview(self, call: Callable[[], Awaitable[T]]) -> T:
        try:
            return await persistently("open a preview URL", call, self._patience)
        except DaytonaError as error:
            await self._raise_if_gone()
            if error.status_code in {403, 404}:
                raise ConfigurationError(
                    f"Preview URL not available for sandbox {self.name}: {redact(str(error))}. "
                    f"Check at {DASHBOARD} that your account and its API key may open previews."
                ) from None
            raise explained(error, f"open a preview URL of sandbox {self.name}") from None

    async def _raise_if_gone(self) -> None:
        """Behind a failed call there may be a sandbox that has ended."""
        try:
            await persistently("look at the sandbox", self.box.refresh_data, self._patience)
        except DaytonaError as error:
            if is_gone(error):
                self._not_found()
            return
        if self.box.state in GONE:
            self._not_found()
        if self.box.state != SandboxState.STARTED:
            reason = redact(self.box.error_reason or "no reason given")
            raise InfrastructureError(f"Sandbox {self.name} is {state_of(self.box)}: {reason}. Run it again.")

    def _not_found(self) -> NoReturn:
        raise SandboxNotFound(self.name, backend="daytona") from None


async def together(*calls: Coroutine[Any, Any, T]) -> list[T]:
    """All their answers; with the first that fails, all come to an end."""
    running = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*running)
    finally:
        for call in running:
            call.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def state_of(box: AsyncSandbox) -> str:
    return str(box.state.value) if box.state else "in no known state"


class _Lines:
    """Lines out of chunks. `last`: the last of them."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._rest = ""
        self.last: list[str] = []

    def add(self, chunk: str) -> None:
        *lines, self._rest = (self._rest + chunk).split("\n")
        for line in lines:
            self._take(line)

    def end(self) -> None:
        if self._rest:
            self._take(self._rest)

    def _take(self, line: str) -> None:
        self.last = [*self.last[-_TAIL:], line]
        self._show(redact(line))
