"""The SDK's client, from the settings."""

from daytona import AsyncDaytona, DaytonaConfig
from pydantic import SecretStr

from core.errors import ConfigurationError
from core.redaction import redact
from core.settings import Settings
from sandboxes.daytona.errors import KEY_REQUIRED


def check_key(settings: Settings) -> SecretStr:
    """The API key.

    Raises:
        ConfigurationError: there is none.
    """
    if settings.daytona_api_key is None or not settings.daytona_api_key.get_secret_value().strip():
        raise ConfigurationError(KEY_REQUIRED)
    redact.hide(settings.daytona_api_key)
    return settings.daytona_api_key


def open_client(settings: Settings) -> AsyncDaytona:
    """A client for the event loop that runs now; close it there.

    Always the asynchronous one: the other takes SIGALRM for its timeouts, and so breaks those of others.

    Raises:
        ConfigurationError: there is no API key.
    """
    return AsyncDaytona(
        DaytonaConfig(
            api_key=check_key(settings).get_secret_value(),
            # Given even where it is the default: what the SDK is not given it may take from a `.env` file.
            api_url=settings.daytona_api_url,
            target=settings.daytona_target or None,
        )
    )
