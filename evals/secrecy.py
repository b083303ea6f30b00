"""Keeps keys out of what a peer said, for a peer may echo what it was sent."""

from collections.abc import Iterable

from pydantic import SecretStr

LONGEST_QUOTE = 500
SHORTEST_KEY = 8
"""A shorter secret guards nothing, and blanking it out would garble the text."""


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
