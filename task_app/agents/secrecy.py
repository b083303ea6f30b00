"""Keeps keys out of what a rollout leaves behind."""

from collections.abc import Iterable, Mapping

from pydantic import SecretStr

REDACTED = "[redacted]"
_SHORTEST = 6
"""Characters; a shorter value is no key, and replacing it would garble the text."""


def redacted(text: str, secrets: Iterable[SecretStr]) -> str:
    """The text without any of the secrets, longest first, since one may be part of another."""
    values = {secret.get_secret_value() for secret in secrets}
    for value in sorted(values, key=len, reverse=True):
        if len(value) >= _SHORTEST:
            text = text.replace(value, REDACTED)
    return text


def secrets_of(environment: Mapping[str, SecretStr]) -> list[SecretStr]:
    """What of the agents' settings is a secret: all but the paths of their programs."""
    return [value for name, value in environment.items() if not name.endswith("_BIN")]
