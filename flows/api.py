"""Which Prefect API a command works with: the configured one, or that of this user's local server."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, get_current_settings, temporary_settings
from pydantic import BaseModel

from core.settings import Settings
from flows.server import LocalServer, ServerRecord, check_api


class Api(BaseModel):
    """Addresses of a Prefect server: of its API and of its UI."""

    api_url: str
    ui_url: str
    local: bool
    """Whether it is this user's own server, which other terminals have to be told of."""

    @classmethod
    def of(cls, server: ServerRecord) -> "Api":
        return cls(api_url=server.api_url, ui_url=server.ui_url, local=True)

    def environment(self) -> dict[str, str]:
        """What a child process needs to use the same server; a key is inherited."""
        return {"PREFECT_API_URL": self.api_url, "PREFECT_UI_URL": self.ui_url}

    @contextmanager
    def in_use(self) -> Iterator["Api"]:
        """Let Prefect use it in this process."""
        with temporary_settings({PREFECT_API_URL: self.api_url, PREFECT_UI_URL: self.ui_url}):
            yield self


def configured_api() -> Api | None:
    """The API that PREFECT_API_URL or the active profile names, None where neither does.

    Raises:
        EngineBenchError: it does not answer, or refuses the key.
    """
    settings = get_current_settings()
    url = settings.api.url
    if not url:
        return None
    key = settings.api.key.get_secret_value() if settings.api.key else None
    check_api(url, {"Authorization": f"Bearer {key}"} if key else {})
    return Api(api_url=url, ui_url=settings.ui_url or url.removesuffix("/api"), local=False)


def ensured_api(settings: Settings, announce: Callable[[str], None]) -> Api:
    """The configured API, else that of the local server; `announce` is told where that has to be started first.

    Raises:
        EngineBenchError: it does not answer, refuses the key, or the local server did not come up.
    """
    return configured_api() or Api.of(LocalServer(settings).ensure(announce))


def running_api(settings: Settings) -> Api | None:
    """The configured API, else that of the local server if it runs; to look starts none.

    Raises:
        EngineBenchError: the configured one does not answer, or refuses the key.
    """
    configured = configured_api()
    if configured:
        return configured
    state, record = LocalServer(settings).state()
    return Api.of(record) if record and state == "running" else None
