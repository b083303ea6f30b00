"""The Backend protocol: what a place must offer for a task app to live in it.

Every verb is idempotent, which is what makes the flow's steps retryable: provisioning twice under one name adopts,
uploading or installing twice is cheap, starting twice finds the running server, cleaning up twice is fine.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Protocol

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, SecretStr

from core.errors import ConfigurationError, InfrastructureError
from sandboxes.bundle import Bundle

TASK_APP_ENV_FILE = "task_app.env"
TASK_APP_LOG = "task_app.log"

SandboxName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
"""Becomes a folder's name, a host name and a label, so it holds nothing that could mean more there."""


class Machine(BaseModel):
    """What a sandbox is made of, for a backend that makes machines; a local sandbox is made of this one."""

    model_config = ConfigDict(frozen=True)

    image: str = ""
    """A registry image with Python 3.11 or newer; empty: the backend's own choice."""
    dockerfile: str = Field(default="", repr=False)
    """What to build the image from, instead of `image`: its text, which takes nothing from a build context. Such an
    image's /app is its own."""
    build_timeout: float | None = Field(default=None, gt=0)
    """Seconds that the build of its snapshot may take; None: what the backend allows."""
    snapshot: str = "none"
    """`auto`: build one on first use, and reuse it afterwards; `none`; or the name of one that is there."""
    cpu: int = Field(default=2, ge=1)
    """Cores."""
    memory: int = Field(default=4, ge=1)
    """GiB, as `disk`."""
    disk: int = Field(default=8, ge=1)


class SandboxSpec(BaseModel):
    """Which sandbox to make; enough to find it again and to remove it, also from another process."""

    model_config = ConfigDict(frozen=True)

    name: SandboxName
    """Deterministic: the same flow run and lane give the same name."""
    run_id: str
    """The flow run that owns it."""
    lane: int = Field(ge=0)
    port: int = Field(default=8017, ge=1, le=65535)
    """The port wanted for the task app; a backend that shares its ports takes the next free one."""
    lifetime: int = Field(default=3600, gt=0)
    """Seconds after which the sandbox may be removed by anybody, whatever became of its run."""
    machine: Machine = Field(default_factory=Machine)


class Sandbox(BaseModel):
    """Handle of a sandbox. It can be written down and passed between processes, so it holds no secret."""

    model_config = ConfigDict(frozen=True)

    backend: str
    name: SandboxName
    id: str
    """The backend's own identifier."""
    workdir: str
    """Absolute path inside the sandbox of the folder that the bundle is unpacked into."""
    url: str | None = None
    """Base URL of the task app; None until it was started."""


class Endpoint(BaseModel):
    """How to reach a task app from here, with the headers that get through the backend's own gate."""

    model_config = ConfigDict(frozen=True)

    url: str = Field(repr=False)
    """Not shown, since a backend's URL may hold a token."""
    headers: Mapping[str, SecretStr] = Field(default_factory=dict)


class SandboxRecord(BaseModel):
    """What a backend can tell of a sandbox that one of our runs has made, whatever became of that run."""

    model_config = ConfigDict(frozen=True)

    spec: SandboxSpec
    """Enough for `cleanup`: name, run id and lane are as recorded; the rest may be its default."""
    expires_at: AwareDatetime
    """From then on anybody may remove it."""
    owner_alive: bool | None = None
    """Whether the process that runs the flow is alive; None where the backend can't tell."""


class SandboxUnusable(InfrastructureError):
    """Nothing more can be asked of this sandbox. Another one is the remedy."""


class SandboxNotFound(SandboxUnusable):
    """A verb was asked of a sandbox that is not there (any more)."""

    def __init__(self, name: str, *, backend: str) -> None:
        super().__init__(
            f"The {backend} sandbox {name} is not there: it was never provisioned, or it has been cleaned up. "
            "Run it again; a new run makes a new sandbox."
        )


class Backend(Protocol):
    """One way of making sandboxes. Raises InfrastructureError (worth a retry) or ConfigurationError (not).

    A backend inherits from this class, and so what is nothing to most of them.
    """

    name: str
    starts_at_a_time: int = 8
    """Sandboxes of one run between `provision` and `health`: this machine has its cores, a cloud its rate limit."""

    async def prepare(self, machine: Machine, bundle: Bundle, tools: tuple[str, ...]) -> Machine:
        """Make what the sandboxes of a run can share, and return what to ask for in their specs."""
        return machine

    async def provision(self, spec: SandboxSpec) -> Sandbox:
        """Make the sandbox, or adopt the one that has this name and belongs to the same run."""
        ...

    async def upload(self, sandbox: Sandbox, bundle: Bundle) -> None:
        """Unpack the bundle into the work directory; nothing to do where its digest is already there.

        Another bundle replaces the first one, and stops the task app that runs on it.
        """
        ...

    async def install(self, sandbox: Sandbox, tools: tuple[str, ...]) -> None:
        """Make sure that the task app's requirements and these programs are there.

        A tool is a name on PATH, e.g. `cargo`, or with where to get it from: `codex=npm:@openai/codex@0.169.0`.

        Raises:
            ConfigurationError: a tool is missing and the backend can't get it.
        """
        ...

    async def start(self, sandbox: Sandbox, environment: Mapping[str, SecretStr]) -> Sandbox:
        """Start the task app, or find the one that runs, and return the handle with its URL.

        `environment` holds keys: it reaches the task app through a file of mode 0600, which that removes
        once read.
        """
        ...

    async def health(self, sandbox: Sandbox, nonce: str, timeout: float) -> None:
        """Wait until the task app answers with this nonce, at most `timeout` seconds.

        A task app that died is noticed at once, and the error shows the last 50 lines of its log.

        Raises:
            ConfigurationError: the task app says that it can't get ready.
            InfrastructureError: it died, another server answers in its place, or the time is up.
        """
        ...

    async def endpoint(self, sandbox: Sandbox, public_for: int | None = None) -> Endpoint:
        """Where the eval service reaches the task app.

        One that runs elsewhere can't send our headers: with `public_for`, the URL alone lets in for so many seconds
        (where the backend has a gate at all), so it is a secret then.

        Raises:
            InfrastructureError: it does not run.
        """
        ...

    async def keep_alive(self, sandbox: Sandbox) -> None:
        """Show that the sandbox is in use. Where idle sandboxes are stopped, call it every few minutes of an eval."""
        return  # a body, so that it can be inherited

    async def log(self, sandbox: Sandbox, lines: int = 50) -> str:
        """The last lines of the task app's log; empty if there is none."""
        ...

    async def install_log(self, sandbox: Sandbox, lines: int = 50) -> str:
        """The last lines of what the installation said; empty if it left no log."""
        return ""

    async def cleanup(self, spec: SandboxSpec) -> None:
        """Stop everything in the sandbox and remove it. Fine if it is half made, or gone.

        A sandbox of this name that belongs to another run is left alone.
        """
        ...

    async def aclose(self) -> None:
        """Hang up. The sandboxes stay."""
        return  # a body, so that it can be inherited

    async def list(self) -> Sequence[SandboxRecord]:
        """All sandboxes that carry our mark (labels, or a record in the sandbox), of any run, in any state.

        The sweep removes some of them with `cleanup(record.spec)`, so what somebody else has made must not be in here:
        a name alone is no mark. What cannot be read in full (a label is missing, or is no date) is not ours either.
        """
        ...


def env_file(environment: Mapping[str, SecretStr]) -> str:
    """What a backend writes for the task app to read: one `NAME=value` a line, the value as it is, without quoting.

    Raises:
        ConfigurationError: a name is none, or a value has a line break in it. The message shows no value.
    """
    for name, value in environment.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ConfigurationError(f"{name!r} can't be the name of an environment variable. Rename or drop it.")
        if len(f"{value.get_secret_value()}.".splitlines()) > 1 or "\0" in value.get_secret_value():
            raise ConfigurationError(
                f"The value of {name} has a line break or a NUL character in it. Set it anew, without."
            )
    return "".join(f"{name}={value.get_secret_value()}\n" for name, value in environment.items())
