"""Where a task app can live: the backends, and the protocol they share."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pkgutil import resolve_name

from core.errors import ConfigurationError
from core.settings import Settings
from sandboxes.base import Backend

Factory = Callable[[Settings], Backend]


def _lazily(where: str) -> Factory:
    """Import a backend only once it is asked for: one may need an SDK that takes a second to load."""

    def open_(settings: Settings) -> Backend:
        factory: Factory = resolve_name(where)
        return factory(settings)

    return open_


BACKENDS: Mapping[str, Factory] = {
    "daytona": _lazily("sandboxes.daytona:DaytonaBackend"),
    "local": _lazily("sandboxes.local:LocalBackend"),
}
"""All backends by name. A new one is a module here and a line above, and passes the conformance suite as it is."""


def open_backend(name: str, settings: Settings) -> Backend:
    """The backend of this name.

    Raises:
        ConfigurationError: there is none.
    """
    if name not in BACKENDS:
        raise ConfigurationError(f"There is no backend {name!r}. Choose one of: {', '.join(sorted(BACKENDS))}.")
    return BACKENDS[name](settings)


@asynccontextmanager
async def opened_backend(name: str, settings: Settings) -> AsyncIterator[Backend]:
    """The backend of this name, hung up at the end. Its sandboxes stay.

    Raises:
        ConfigurationError: there is none, or it is not set up here.
    """
    backend = open_backend(name, settings)
    try:
        yield backend
    finally:
        await backend.aclose()
