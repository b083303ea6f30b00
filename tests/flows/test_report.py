"""Which runs are compared with each other."""

from pathlib import Path
from typing import Any

import pytest

from core.settings import Settings
from flows.parameters import Parameters
from flows.plan import make_plan
from flows.report import series_of


def series(**parameters: Any) -> str:
    return series_of(make_plan(Parameters(**parameters), "run", Settings()))


@pytest.mark.parametrize(
    "changed",
    [
        {"agent": "codex"},
        {"model": "gpt-5.2"},
        {"split": "em"},
        {"benchmark": "hello-world"},
        {"timeout": 60},
        {"max_turns": 5},
        {"internet": True},
        {"system_prompt": "Be brief."},
        {"inference_url": "http://127.0.0.1:9"},
        {"agent": "command", "agent_command": "true"},
        {"rescore": "a-run"},
    ],
    ids=str,
)
def test_what_is_measured_otherwise_is_not_compared(changed: dict[str, Any]) -> None:
    assert series(**changed) != series()


@pytest.mark.parametrize(
    "changed", [{"seeds": 3}, {"instances": ["em-*"]}, {"attempts": 4}, {"sandboxes": 2}, {"concurrency": 1}], ids=str
)
def test_more_of_the_same_is_compared(changed: dict[str, Any]) -> None:
    assert series(**changed) == series()


def test_a_context_counts_by_its_content(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "same", "other")]
    for folder, text in zip(folders, ("Be brief.", "Be brief.", "Take your time."), strict=True):
        folder.mkdir()
        (folder / "AGENTS.md").write_text(text)
    one, same, other = (series(context=str(folder)) for folder in folders)
    assert one == same
    assert len({one, other, series()}) == 3
