"""The server inside this process."""

import asyncio
import signal

import httpx
import pytest
import uvicorn

from core.errors import InfrastructureError
from evals.server import serve_app


async def _app(scope: object, receive: object, send: object) -> None:
    pass


async def test_signal_handlers_stay_the_processs_own() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    async with serve_app(_app):
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


async def test_a_server_that_can_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise OSError("no sockets left")

    monkeypatch.setattr(uvicorn.Server, "startup", fail)
    with pytest.raises(InfrastructureError, match="no sockets left"):
        async with serve_app(_app):
            pytest.fail("must not be reached")


@pytest.mark.parametrize(("error", "told"), [(asyncio.CancelledError(), False), (RuntimeError("a bug"), True)])
async def test_a_request_that_is_cut_off_with_the_run_is_no_error(
    error: BaseException, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        raise error

    async with serve_app(app) as url, httpx.AsyncClient(trust_env=False) as http:
        await http.get(url)
    assert ("Exception in ASGI application" in caplog.text) == told
