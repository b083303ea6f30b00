"""`verify`: which instances it calls broken, and why."""

import shutil
from pathlib import Path

import pytest

from core.errors import ConfigurationError
from core.settings import Settings
from flows.verify import Checked, Score, summary, verify
from task_app.isolation import Isolation, Level
from tests import synthetic
from tests.task_app.grading_fixtures import open_directory


async def check(folder: Path, home: Path, **more: str) -> list[Checked]:
    told: list[Checked] = []
    settings = Settings(cache_dir=home / "cache")
    checked = await verify("harbor", settings, path=str(folder), on_checked=told.append, **more)
    assert {each.instance for each in told} == {each.instance for each in checked}
    assert not list((home / "cache").glob("verify-*"))
    return checked


async def test_a_sound_benchmark(tmp_path: Path) -> None:
    synthetic.write_classic(tmp_path / "clone", instances=4, lines=200)
    with open_directory() as home:
        checked = await check(tmp_path / "clone", home)
    assert [each.instance for each in checked] == [card.id for card in sorted(synthetic.deck(4), key=lambda c: c.id)]
    assert [(each.gold.reward if each.gold else None, each.stub.reward, each.problems) for each in checked] == [
        (1.0, 0.3, [])
    ] * 4
    assert summary(checked) == "4 of 4 instances are as they should be."
    assert (tmp_path / "clone/gold").is_dir(), "the user's own clone stays as it is"


async def test_what_is_broken_is_named_with_why(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    synthetic.write_classic(clone, instances=8, lines=200)
    (clone / "gold/implementations/df_001_specimen.rs").write_text("nonsense")
    (clone / "gold/implementations/df_002_specimen.rs").unlink()
    free_points = "#[cfg(test)]\nmod eval_tests {\n    #[test]\n    fn free() {}\n}\n"
    (clone / "gold/tests/df_003_specimen_eval.rs").write_text(free_points)
    with open_directory() as home:
        checked = {each.instance: each for each in await check(clone, home, split="df")}
    assert list(checked) == [f"df-00{number}-specimen" for number in (1, 2, 3, 4)]
    assert checked["df-001-specimen"].problems[0].startswith("gold scores 0.00 (")
    assert checked["df-002-specimen"].gold is None
    assert checked["df-002-specimen"].problems == []
    assert checked["df-003-specimen"].problems == ["the stub scores 1.00"]
    assert checked["df-004-specimen"].problems == []
    assert summary(list(checked.values())) == ("2 of 4 instances are as they should be. 1 have no reference solution.")


async def test_the_harbor_layout_with_its_images_content_apart(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    synthetic.write_harbor(clone, instances=4, lines=200)
    shutil.move(clone / "harbor-root", tmp_path / "root")
    (clone / "tasks/df-001-specimen/solution/solve.sh").write_text("exit 1\n")
    with open_directory() as home:
        if (await Isolation.detect(home)).level is not Level.NAMESPACE:
            pytest.skip("this machine gives no namespaces")
        checked = await check(clone, home, harbor_root=str(tmp_path / "root"))
    broken = [each for each in checked if each.problems]
    assert [each.instance for each in broken] == ["df-001-specimen"]
    assert broken[0].problems[0].startswith("gold scores nothing (The reference solution of df-001-specimen failed")
    assert not (clone / "harbor-root").exists()


async def test_what_can_not_be_verified(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="holds no benchmark"):
        await check(tmp_path, tmp_path)
    synthetic.write_harbor(tmp_path / "clone", instances=2, lines=100)
    with pytest.raises(ConfigurationError, match="--harbor-root names one"):
        await check(tmp_path / "clone", tmp_path, harbor_root=str(tmp_path / "nowhere"))
    shutil.rmtree(tmp_path / "clone/harbor-root")
    with pytest.raises(ConfigurationError, match="Give one with --harbor-root DIR"):
        await check(tmp_path / "clone", tmp_path)
    with pytest.raises(ConfigurationError, match="has no split 'x'"):
        await check(tmp_path / "clone", tmp_path, split="x")


@pytest.mark.parametrize(
    ("gold", "stub", "problems"),
    [
        (1.0, 0.3, []),
        (None, 0.3, ["gold scores nothing (why)"]),
        (0.99, 0.0, ["gold scores 0.99 (why)"]),
        (1.0, 0.31, ["the stub scores 0.31 (why)"]),
        (1.0, None, ["the stub scores nothing (why)"]),
    ],
)
def test_problems(gold: float | None, stub: float | None, problems: list[str]) -> None:
    assert Checked("x", Score(gold, "why"), Score(stub, "why")).problems == problems
