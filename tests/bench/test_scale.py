"""A small version of the measurement of scale: disk does not grow with the instances, and nothing is built twice."""

from pathlib import Path

import pytest

from core.settings import Settings
from task_app.build_cache import BuildCache
from task_app.isolation import Isolation, Level
from tests.bench.scale import run_once
from tests.task_app.grading_fixtures import open_directory


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["classic", "harbor"])
async def test_slots_are_reused_and_builds_are_kept(layout: str, tmp_path: Path) -> None:
    with open_directory() as home:
        level = (await Isolation.detect(home)).level
        if level is not Level.NAMESPACE:
            pytest.skip("this machine gives no namespaces")
        settings = Settings(cache_dir=home / "cache", data_dir=tmp_path / "data")
        first = await run_once(layout, settings, instances=30, lines=1000, rollouts=30)
        kept = BuildCache(settings.builds_dir).entries()
        assert [entry.name.partition("-")[0] for entry in kept] == ["build"]
        assert first.disk < 1.5 * first.disk_early, "disk grew with the instances"
        await run_once(layout, settings, instances=30, lines=1000, rollouts=1)
        assert [entry.name for entry in BuildCache(settings.builds_dir).entries()] == [kept[0].name]
        assert BuildCache(settings.builds_dir).entries()[0].used_at > kept[0].used_at, "the second sandbox built anew"
        assert list(settings.sandboxes_dir.glob("eb-*")) == []
