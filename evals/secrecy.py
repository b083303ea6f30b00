"""Keeps keys out of messages that quote what a peer said."""

from collections.abc import Iterable

from pydantic import SecretStr

LONGEST_QUOTE = 500


def quoted(text: str, secrets: Iterable[SecretStr]) -> str:
    """`text` on one line, cut to a readable length, without any of the secrets (a peer may echo what it was sent)."""
    for secret in secrets:
        if value := secret.get_secret_value():
            text = text.replace(value, "[key]")
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + " [...]"
