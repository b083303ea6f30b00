"""The one redactor: keys, tokens and signed URLs are taken out of whatever is logged or raised.

There is one for the process, as there is one logging system: a secret that any part of it uses may show in any log.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import SecretStr

HIDDEN = "***"

_SHORTEST = 6
"""A shorter "secret" is a word that would be taken out of harmless sentences."""

_SHAPES = re.compile(
    r"(?P<kept>\bBearer\s+|\bDAYTONA_SANDBOX_AUTH_KEY=|\bx-daytona-preview-token\W{1,4})[\w.~+/=-]{6,}"
    r"|(?P<port>://\d{1,5}-)[\w.-]{6,}"
    r"|\b(?:dtn|sk|pk)[-_][\w-]{12,}",
    re.IGNORECASE,
)
"""What gives a secret away that nobody told us about: headers, preview URLs (`https://8000-<token>.<host>`), keys."""


class Redactor:
    """Takes the secrets that it knows, and what is shaped like one, out of text."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()

    def hide(self, *secrets: SecretStr) -> None:
        """From now on these don't show."""
        self._secrets |= {value for secret in secrets if len(value := secret.get_secret_value().strip()) >= _SHORTEST}

    def __call__(self, text: str) -> str:
        # The longest first: one secret may be a part of another, as a token is of its URL.
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return _SHAPES.sub(lambda match: f"{match['kept'] or match['port'] or ''}{HIDDEN}", text)

    @contextmanager
    def guarding_logs(self) -> Iterator[None]:
        """Meanwhile every log record of the process, with its traceback, passes this redactor."""
        make = logging.getLogRecordFactory()

        def make_redacted(*args: Any, **kwargs: Any) -> logging.LogRecord:
            return self._redacted(make(*args, **kwargs))

        logging.setLogRecordFactory(make_redacted)
        try:
            yield
        finally:
            logging.setLogRecordFactory(make)

    def _redacted(self, record: logging.LogRecord) -> logging.LogRecord:
        message = record.getMessage()
        if (redacted := self(message)) != message:
            record.msg, record.args = redacted, None
        if record.exc_info:
            # A formatter takes this text instead of formatting the exception itself.
            record.exc_text = self(logging.Formatter().formatException(record.exc_info))
        return record


redact = Redactor()
"""The process's own."""
