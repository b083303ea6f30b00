"""The key comes from the environment, else from the block."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import SecretStr

from core.redaction import redact
from core.settings import Settings
from evals.store import Store, StoredRun, open_store
from flows import engine_bench
from flows.credentials import BLOCK_NAME, DaytonaCredentials, with_daytona_credentials
from flows.parameters import Parameters
from flows.plan import Plan
from flows.server import ServerRecord

KEY = "dtn_kept-in-the-block-7d2a"
UNSHAPELY = "kept in the block 4c1f"
"""Nothing but that it is known to be a key gives it away."""


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


async def test_a_resumed_run_is_given_the_key_of_its_own_backend(
    in_process: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flow run's parameters have the default backend: the run's own are in the store."""
    monkeypatch.setenv("ENGINE_BENCH_RESULTS_DIR", str(tmp_path))
    monkeypatch.delenv("DAYTONA_API_KEY", raising=False)
    asked = Parameters(backend="daytona", benchmark="hello-world", agent="gold").model_dump()
    async with open_store(Settings().resolved_store_url) as store:
        await store.begin_run(StoredRun("the-id", "the-run", "series", "hash", asked, None, datetime.now(UTC)))
    given: list[Settings] = []

    async def score(_plan: Plan, settings: Settings, _store: Store) -> None:
        given.append(settings)

    monkeypatch.setattr(engine_bench, "score", score)
    await DaytonaCredentials(api_key=SecretStr(UNSHAPELY)).save(BLOCK_NAME)
    try:
        await engine_bench.engine_bench(resume="the-run")
    finally:
        await DaytonaCredentials.adelete(BLOCK_NAME)
    assert [settings.daytona_api_key for settings in given] == [SecretStr(UNSHAPELY)]
    assert UNSHAPELY not in redact(f"it was {UNSHAPELY}")
