"""Which Prefect API a command of this room works with."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, get_current_settings, temporary_settings
from pydantic import BaseModel

from core.errors import ConfigurationError
from core.settings import Settings
from flows.server import LocalServer, check_api

Say = Callable[[str], None]


class Api(BaseModel):
    """Addresses of a Prefect server: of its API and of its UI."""

    api_url: str
    ui_url: str
    local: bool
    """Whether it is this user's own server, which other terminals have to be told of."""

    def environment(self) -> dict[str, str]:
        """What a child process needs to use the same server; a key is inherited."""
        return {"PREFECT_API_URL": self.api_url, "PREFECT_UI_URL": self.ui_url}


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


def required_api() -> Api:
    """As `configured_api`, where a server that is started on the spot would be of no use."""
    api = configured_api()
    if api is None:
        raise ConfigurationError(
            "No Prefect server is named. Set PREFECT_API_URL, or use `make serve`, which starts one on this machine."
        )
    return api


@contextmanager
def served_api(settings: Settings, say: Say) -> Iterator[Api]:
    """The configured API, else that of the local server, which is stopped afterwards only if this has started it."""
    api = configured_api()
    if api:
        yield api
        return
    server, started = LocalServer(settings), False

    def starting(_line: str) -> None:
        nonlocal started
        started = True
        say("Starting a Prefect server (about 10 s)")

    try:
        record = server.ensure(announce=starting)
        with temporary_settings({PREFECT_API_URL: record.api_url, PREFECT_UI_URL: record.ui_url}):
            yield Api(api_url=record.api_url, ui_url=record.ui_url, local=True)
    finally:
        if started:
            say("Stopping the Prefect server")
            server.stop()
