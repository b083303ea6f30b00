"""Keeps keys out of what a peer said, for a peer may echo what it was sent."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

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


VARIABLES = "env_vars"
"""Where a policy's context overrides have environment variables."""


def without_variables(value: Any, salt: str) -> Any:
    """Some JSON with a digest in the place of each variable's value, wherever in it variables are.

    The digests are the same for the same values and salt, so that requests can be compared.
    """
    if isinstance(value, list):
        return [without_variables(one, salt) for one in value]
    if not isinstance(value, dict):
        return value
    return {
        name: _digests(one, salt) if name == VARIABLES else without_variables(one, salt) for name, one in value.items()
    }


def _digests(variables: Any, salt: str) -> Any:
    if isinstance(variables, dict):
        return {name: _digest(value, salt) for name, value in variables.items()}
    return _digest(variables, salt)


def _digest(value: Any, salt: str) -> str:
    return "sha256:" + hashlib.sha256(json.dumps([salt, value], sort_keys=True).encode()).hexdigest()


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
