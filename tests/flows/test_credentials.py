"""The key comes from the environment, else from the block."""

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import SecretStr

from core.settings import Settings
from flows.credentials import BLOCK_NAME, DaytonaCredentials, with_daytona_credentials
from flows.server import ServerRecord

KEY = "dtn_kept-in-the-block-7d2a"


@pytest.fixture(autouse=True)
def prefect(server: ServerRecord):
    with temporary_settings({PREFECT_API_URL: server.api_url}):
        yield


async def test_what_the_environment_has_comes_first():
    settings = Settings(daytona_api_key=SecretStr("dtn_of-the-environment"))
    assert await with_daytona_credentials(settings) is settings


async def test_without_a_block_nothing_changes():
    settings = Settings(daytona_api_key=None)
    assert await with_daytona_credentials(settings) == settings


async def test_the_block_replaces_the_environment():
    block = DaytonaCredentials(api_key=SecretStr(KEY), target="eu")
    assert KEY not in repr(block)
    await block.save(BLOCK_NAME)
    try:
        settings = await with_daytona_credentials(Settings(daytona_api_key=None, daytona_target="us"))
    finally:
        await DaytonaCredentials.adelete(BLOCK_NAME)
    assert settings.daytona_api_key == SecretStr(KEY)
    assert settings.daytona_api_url == Settings().daytona_api_url
    assert settings.daytona_target == "eu"
