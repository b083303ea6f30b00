"""Keeps keys out of what a peer said, for a peer may echo what it was sent."""

from collections.abc import Iterable

from pydantic import SecretStr

from core.errors import ConfigurationError

LONGEST_QUOTE = 500
SHORTEST_KEY = 8
"""A shorter secret guards nothing, and blanking it out would garble the text."""


def require_sendable(name: str, key: SecretStr) -> None:
    """Refuse a key that no HTTP header can hold, before a library does so by quoting it.

    Raises:
        ConfigurationError: it is empty, or has a line break, blanks around it or other than ASCII characters.
    """
    value = key.get_secret_value()
    if not value:
        raise ConfigurationError(f"{name} is empty.")
    if not (value.isascii() and value.isprintable() and value == value.strip()):
        raise ConfigurationError(f"{name} has a line break, a blank or a character that no key has: copy it anew.")


def redacted(text: str, secrets: Iterable[SecretStr]) -> str:
    """`text` without any of the secrets."""
    for secret in secrets:
        value = secret.get_secret_value()
        if len(value) >= SHORTEST_KEY:
            text = text.replace(value, "[key]")
    return text


def quoted(text: str, secrets: Iterable[SecretStr] = ()) -> str:
    """`text` on one line, cut to a readable length, without any of the secrets."""
    text = " ".join(redacted(text, secrets).split())
    return text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + " [...]"
