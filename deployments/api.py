"""Which Prefect API the commands of this room work with."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from core.errors import ConfigurationError
from core.settings import Settings
from flows.api import Api, configured_api, ensured_api
from flows.server import LocalServer

Say = Callable[[str], None]


def required_api() -> Api:
    """The configured API, where a server that is started on the spot would be of no use."""
    api = configured_api()
    if api is None:
        raise ConfigurationError(
            "No Prefect server is named. Set PREFECT_API_URL, or use `make serve`, which starts one on this machine."
        )
    return api


@contextmanager
def served_api(settings: Settings, say: Say) -> Iterator[Api]:
    """The configured API, else that of the local server, which is stopped afterwards only if this has started it."""
    started = False

    def starting(_line: str) -> None:
        nonlocal started
        started = True
        say("Starting a Prefect server (about 10 s)")

    try:
        with ensured_api(settings, starting).in_use() as api:
            yield api
    finally:
        if started:
            say("Stopping the Prefect server")
            LocalServer(settings).stop()
