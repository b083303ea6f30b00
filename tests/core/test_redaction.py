"""Nothing that is known for a secret, or shaped like one, gets through."""

import io
import logging
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from core.redaction import Redactor

KEY = "a-key-of-no-known-shape"


@pytest.fixture
def redact() -> Redactor:
    redactor = Redactor()
    redactor.hide(SecretStr(KEY))
    return redactor


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger, and what its handler has written."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    logger = logging.getLogger("tests.redaction")
    logger.addHandler(handler)
    yield logger, written
    logger.removeHandler(handler)


def test_a_known_secret_does_not_show(redact):
    assert redact(f"key={KEY}; again {KEY}") == "key=***; again ***"


def test_a_secret_inside_another_leaves_no_rest(redact):
    redact.hide(SecretStr(f"https://8000-{KEY}.example.com/"))
    assert redact(f"open https://8000-{KEY}.example.com/") == "open ***"


@pytest.mark.parametrize("value", ["", "  ", "a", "short"])
def test_what_is_too_short_for_a_secret_is_left_in(redact, value):
    redact.hide(SecretStr(value))
    assert redact("a short word") == "a short word"


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("Authorization: Bearer abc.def-123456", "Authorization: Bearer ***"),
        ("the key dtn_0123456789abcdef is refused", "the key *** is refused"),
        ("sk-proj-0123456789abcdef", "***"),
        ("https://8000-0123456789abcdef.proxy.example.com/health", "https://8000-***/health"),
        ("GET /?DAYTONA_SANDBOX_AUTH_KEY=tok_en-123", "GET /?DAYTONA_SANDBOX_AUTH_KEY=***"),
        ("{'x-daytona-preview-token': 'tok_en-123'}", "{'x-daytona-preview-token': '***'}"),
    ],
)
def test_what_is_shaped_like_a_secret_does_not_show(redact, text, redacted):
    assert redact(text) == redacted


@pytest.mark.parametrize(
    "text",
    ["eb-0123456789abcdef0123-1", "http://127.0.0.1:8017/health", "the task-app has died", "asked for sk-learn"],
)
def test_what_is_no_secret_is_left_in(redact, text):
    assert redact(text) == text


def test_logs_are_guarded_with_their_arguments_and_tracebacks(redact, log):
    logger, written = log
    with redact.guarding_logs():
        logger.warning("asked with %s", KEY)
        try:
            raise ValueError(f"refused {KEY}")
        except ValueError:
            logger.exception("it failed")
    assert KEY not in written.getvalue()
    assert "asked with ***" in written.getvalue()
    assert "ValueError: refused ***" in written.getvalue()


def test_after_the_guard_logs_are_as_before(redact, log):
    logger, written = log
    with redact.guarding_logs():
        pass
    logger.warning("asked with %s", KEY)
    assert KEY in written.getvalue()
