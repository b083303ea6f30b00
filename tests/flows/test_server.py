"""The local Prefect server: one for each user, whatever else runs on this machine."""

import asyncio
from pathlib import Path

import httpx
import pytest

from core.settings import Settings
from flows.server import LocalServer


@pytest.mark.slow
async def test_two_that_start_at_once_get_a_server_each(tmp_path: Path) -> None:
    servers = [LocalServer(Settings(data_dir=tmp_path / name)) for name in ("one", "other")]
    try:
        records = await asyncio.gather(*(asyncio.to_thread(server.ensure, lambda _: None) for server in servers))
        assert len({record.port for record in records}) == 2
        for record in records:
            answer = await asyncio.to_thread(httpx.get, f"{record.ui_url}/ui-settings", timeout=30)
            settings = answer.json()
            assert settings["api_url"] == record.api_url, "its pages show its own runs"
    finally:
        for server in servers:
            await asyncio.to_thread(server.stop)
    assert [server.state()[0] for server in servers] == ["stopped", "stopped"]


def test_a_server_that_is_not_there_is_not_stopped(tmp_path: Path) -> None:
    server = LocalServer(Settings(data_dir=tmp_path))
    assert server.state() == ("stopped", None)
    assert server.stop() is None
