from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.task_app.serving import serving, settings


@pytest.fixture
async def hello(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a task app that holds hello-world."""
    async with serving(settings(tmp_path / "work")) as client:
        yield client
