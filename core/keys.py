"""Keys of a sandbox's task app, derived instead of stored.

A retried step, or a retried run in another process, must be able to talk to a sandbox that is already there, and no
handle holds a secret. So each key is an HMAC-SHA256 of the sandbox's name under one secret of this installation.
"""

import hashlib
import hmac
import os
import secrets
from pathlib import Path
from typing import NamedTuple

from pydantic import SecretStr


class TaskAppKeys(NamedTuple):
    """`api_key` proves who calls; `nonce`, which is no secret, proves which task app answers."""

    api_key: SecretStr
    nonce: str


def task_app_keys(data_dir: Path, sandbox_name: str) -> TaskAppKeys:
    """The same keys for the same sandbox name, for as long as `data_dir` holds its secret."""
    secret = _installation_secret(data_dir / "secret")

    def derive(purpose: str) -> str:
        return hmac.new(secret, f"{purpose}:{sandbox_name}".encode(), hashlib.sha256).hexdigest()

    return TaskAppKeys(SecretStr(derive("api-key")), derive("nonce")[:32])


def _installation_secret(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"secret.{os.getpid()}.{secrets.token_hex(4)}")
    if not path.exists():
        draft.touch(mode=0o600)
        draft.write_bytes(secrets.token_bytes(32))
        try:
            # link, not rename: of two processes that start at once the first wins and both read its secret
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_bytes()
