from pathlib import Path

import pytest
from rich.console import Console

from core.errors import ConfigurationError
from core.settings import Settings
from evals.statistics import Counts
from flows.result import BenchmarkReference, ErrorRow, ResultDocument, RolloutRow
from flows.run_folder import RunFolder
from flows.show import show
from task_app.agents.trajectory import ToolCall, Trajectory, Turn, Usage

INSTANCE = "em-003-flint-badger"


def trajectory() -> Trajectory:
    call = ToolCall(id="1", name="bash", arguments={"command": "cargo check"}, result="a\x1b[2Jb", started=1, ended=2.5)
    turns = [Turn(started=0.5, reasoning="hm", text="I [look].", tool_calls=[call]), Turn(started=3, text="Done.")]
    usage = Usage(input_tokens=10, cached_input_tokens=4, output_tokens=2)
    return Trajectory(
        agent="codex",
        model="m",
        prompt="p",
        turns=turns,
        usage=usage,
        cost_usd=None,
        seconds=3.5,
        ending="The agent said that it was done.",
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The settings of a folder with one run."""
    folder = RunFolder(tmp_path, "20260101-000000-abcd")
    artifacts = {
        "trajectory.json": trajectory().bounded_json(),
        "agent.log": "raw log",
        "diff.patch": "+fn added() {}\n",
        "tests.txt": "test one ... ok\n",
    }
    paths = []
    for name, content in artifacts.items():
        path = folder.path / "rollouts" / INSTANCE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        paths.append(str(path.relative_to(folder.path)))
    row = RolloutRow.model_validate(
        {
            "instance": INSTANCE,
            "seed": 0,
            "attempt": 0,
            "reward": 0.65,
            "tests_passed": 1,
            "tests_total": 2,
            "error": ErrorRow(kind="tests-failed", message="1 of 2 tests failed"),
            "phases": {"agent": 3.5},
            "agent": "codex",
            "model": "m",
            "tokens": 12,
            "cost_usd": None,
            "turns": 2,
            "artifacts": paths,
        }
    )
    folder.write_document(
        ResultDocument.model_validate(
            {
                "run": folder.name,
                "flow_run_id": "x",
                "status": "completed",
                "error": None,
                "warnings": [],
                "started_at": "2026-01-01T00:00:00Z",
                "finished_at": "2026-01-01T00:01:00Z",
                "mean_reward": 0.65,
                "interval_95": None,
                "counts": Counts(total=1, scored=1, solved=0, infrastructure_failures=0),
                "parameters": {},
                "versions": {},
                "benchmark": BenchmarkReference(name="sample", content_hash="0"),
                "comparison": None,
                "rollouts": [row],
            }
        )
    )
    return Settings(results_dir=tmp_path)


def shown(run: str, instance: str | None, settings: Settings) -> str:
    console = Console(width=160, record=True, quiet=False)
    with console.capture() as capture:
        console.print(show(run, instance, settings))
    return capture.get()


@pytest.mark.parametrize("run", ["latest", "20260101-000000-abcd", "20260101"])
def test_a_run_is_shown_as_its_rollouts(settings: Settings, run: str) -> None:
    text = shown(run, None, settings)
    assert all(part in text for part in (INSTANCE, "0.65", "1/2", "12", "tests-failed"))


def test_an_instance_is_shown_with_all_that_its_agent_did(settings: Settings) -> None:
    text = shown("latest", INSTANCE, settings)
    for part in (
        "I [look].",
        "cargo check",
        "10 tokens in (4 cached), 2 out",
        "+fn added() {}",
        "test one ... ok",
        "Done.",
    ):
        assert part in text
    assert "raw log" not in text
    assert "\x1b[2J" not in text


def test_what_is_not_there_is_told_with_what_is(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="20260101-000000-abcd, or `latest`"):
        show("2027", None, settings)
    with pytest.raises(ConfigurationError, match=INSTANCE):
        show("latest", "nope", settings)
    with pytest.raises(ConfigurationError, match="There is no run in"):
        show("latest", None, Settings(results_dir=settings.results_dir / "other"))
