"""What the command line finds out before it starts anything."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from core.errors import ConfigurationError
from flows import runner
from flows.parameters import Parameters
from tests import synthetic


def _spoil(file: str) -> Callable[[Path], object]:
    return lambda clone: (clone / file).write_text("{[")


def _lose(file: str) -> Callable[[Path], object]:
    return lambda clone: (clone / file).unlink()


def _empty(clone: Path) -> None:
    shutil.rmtree(clone)
    clone.mkdir()


@pytest.mark.parametrize(
    ("write", "break_it", "named", "said"),
    [
        (synthetic.write_classic, shutil.rmtree, "", "There is no folder|holds no benchmark"),
        (synthetic.write_classic, _empty, "", "holds no benchmark: expected"),
        (synthetic.write_classic, _spoil("data/instances/single/df-001-specimen.json"), "df-001-specimen.json", "JSON"),
        (synthetic.write_classic, _lose("gold/stubs/df_001_specimen.rs"), "df_001_specimen.rs", "expected|missing"),
        (synthetic.write_harbor, _spoil("tasks/df-001-specimen/task.toml"), "task.toml", "no TOML"),
        (synthetic.write_harbor, _lose("tasks/df-001-specimen/tests/test.sh"), "test.sh", "missing"),
    ],
)
def test_a_broken_clone_is_told_before_a_server_is_looked_for(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[Path, int, int], object],
    break_it: Callable[[Path], object],
    named: str,
    said: str,
) -> None:
    write(tmp_path / "clone", 2, 100)
    break_it(tmp_path / "clone")
    monkeypatch.setattr(runner, "conduct", lambda *_: pytest.fail("it went on"))
    parameters = Parameters(benchmark="engine-bench", path=str(tmp_path / "clone"), agent="gold")
    with pytest.raises(ConfigurationError, match=said) as refused:
        runner.run(parameters, min_reward=None, as_json=False)
    assert str(tmp_path / "clone") in str(refused.value)
    assert named in str(refused.value)
