"""The matrix: which runs it makes, how its budget ends it, and how it compares them."""

import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow_async
from prefect.states import AwaitingRetry
from prefect.types._datetime import now

from core.errors import InfrastructureError
from core.settings import Settings
from evals.protocol import RolloutReply
from flows import exit_codes, matrix, matrix_cli
from flows.matrix import Matrix, MatrixIncomplete, engine_bench_matrix
from flows.matrix_document import MatrixDocument, comparisons, markdown
from flows.matrix_parameters import Cell, MatrixParameters
from flows.parameters import Parameters
from flows.run_folder import short_id
from tests.flows.test_document import document_of

ROOT = Path(__file__).resolve().parents[2]
HELLO: dict[str, Any] = {"agents": ["gold", "noop"], "benchmarks": ["hello-world"]}


# Parameters


def labels(**parameters: Any) -> list[str]:
    return [cell.label for cell in MatrixParameters(**parameters).cells]


def test_baselines_run_once_whatever_the_models() -> None:
    assert labels(agents=["gold", "noop"], models=["a", "b"], benchmarks=["sample", "hello-world"]) == [
        "sample · gold",
        "sample · noop",
        "hello-world · gold",
        "hello-world · noop",
    ]


def test_what_is_named_twice_runs_once() -> None:
    assert labels(agents=["gold", "gold"]) == ["sample · gold"]


def test_a_cell_is_run_with_what_the_matrix_says() -> None:
    asked = MatrixParameters(seeds=3, attempts=4, backend="daytona", cpu=8, timeout=77)
    assert asked.run(asked.cells[1]) == Parameters(
        agent="noop", seeds=3, attempts=4, backend="daytona", cpu=8, timeout=77
    )


def test_the_form_has_what_a_single_run_has() -> None:
    form = engine_bench_matrix.parameters.model_dump()["properties"]
    for name in MatrixParameters.model_fields:
        assert form[name]["description"], name
        assert "anyOf" not in form[name], "an optional field is drawn as tabs"
    assert form["attempts"] | {"position": 0} == {
        "default": 1,
        "description": Parameters.model_fields["attempts"].description,
        "maximum": 1000,
        "minimum": 1,
        "position": 0,
        "title": "attempts",
        "type": "integer",
    }


# Comparison


def test_each_two_runs_on_one_benchmark_are_compared() -> None:
    cells = [
        Cell(benchmark=benchmark, agent=agent, model="")
        for benchmark in ("sample", "hello-world")
        for agent in ("gold", "noop")
    ]
    good, bad = document_of([[1.0]] * 8), document_of([[0.5]] * 6 + [[1.0], [None]])
    elsewhere = good.model_copy(update={"benchmark": good.benchmark.model_copy(update={"name": "hello-world"})})
    (found,) = comparisons({cells[0]: good, cells[1]: bad, cells[2]: elsewhere})
    assert (found.before, found.after) == ("gold", "noop")
    assert found.difference.instances == 7
    assert found.difference.mean == pytest.approx(-3 / 7)
    assert found.mcnemar.model_dump() == {"instances": 7, "only_before": 6, "only_after": 0, "p_value": 0.03125}


# The flow


@pytest.fixture
def settings(in_process: None, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    monkeypatch.setenv("ENGINE_BENCH_DATA_DIR", str(home / "data"))
    monkeypatch.setenv("ENGINE_BENCH_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("ENGINE_BENCH_RESULTS_DIR", str(tmp_path / "results"))
    settings = Settings()
    yield settings
    assert not list(settings.sandboxes_dir.glob("*/"))


@pytest.fixture
def paid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each rollout costs a dollar, and somebody looks often."""
    monkeypatch.setattr(matrix, "COST_CHECK", 0.02)
    monkeypatch.setattr(RolloutReply, "row", _costly(RolloutReply.row))


def _costly(row: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: row(*arguments).model_copy(update={"cost_usd": 1.0})


async def incomplete(**parameters: Any) -> MatrixDocument:
    with pytest.raises(MatrixIncomplete) as raised:
        await engine_bench_matrix(**HELLO, **parameters)
    return raised.value.document


async def test_all_runs_are_made_and_compared(settings: Settings) -> None:
    document = await engine_bench_matrix(**HELLO, attempts=3)
    assert document.status == "completed"
    assert [(cell.agent, cell.status, cell.mean_reward) for cell in document.cells] == [
        ("gold", "completed", 1.0),
        ("noop", "completed", 0.0),
    ]
    (comparison,) = document.comparisons
    assert (comparison.difference.mean, comparison.mcnemar.only_before) == (-1.0, 1)
    assert document.matrix == f"matrix-{short_id(document.flow_run_id)}"
    folder = settings.results_dir / document.matrix
    assert MatrixDocument.model_validate_json((folder / "matrix.json").read_text()) == document
    assert (folder / "matrix.md").read_text() == markdown(document)
    for cell in document.cells:
        assert (settings.results_dir / str(cell.run) / "result.json").exists()


async def test_a_run_that_fails_does_not_stop_the_others(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGINE_BENCH_DIR", str(settings.results_dir / "nothing-here"))
    with pytest.raises(MatrixIncomplete) as raised:
        await engine_bench_matrix(agents=["gold"], benchmarks=["engine-bench", "hello-world"])
    broken, good = raised.value.document.cells
    assert (broken.status, good.status) == ("failed", "completed")
    assert broken.error
    assert "nothing-here" in broken.error.message
    assert raised.value.document.message == "1 of 2 runs are complete."


async def test_nothing_is_handed_out_once_the_time_is_over(settings: Settings) -> None:
    document = await incomplete(max_minutes=0.1, attempts=1000, concurrency=1)
    assert document.status == "out-of-budget"
    assert document.message == "0 of 2 runs are complete. The 0.1 minutes are over."
    assert [cell.status for cell in document.cells] == ["cancelled", "not-run"]


async def test_nothing_is_handed_out_once_the_money_is_spent(settings: Settings, paid: None) -> None:
    document = await incomplete(max_cost_usd=3, attempts=100, concurrency=1)
    assert document.status == "out-of-budget"
    gold, noop = document.cells
    assert (gold.status, noop.status) == ("cancelled", "not-run")
    assert gold.counts
    assert 3 <= gold.counts.scored < 100
    assert document.cost_usd == gold.cost_usd == gold.counts.scored
    assert "of $3.00 are spent" in document.message


async def test_a_retry_goes_on_with_the_runs_that_have_begun(
    settings: Settings, paid: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await incomplete(max_cost_usd=3, attempts=50, concurrency=1)
    assert first.cells[0].counts
    begun, scored = first.cells[0].run, first.cells[0].counts.scored
    second = await retried(first, max_cost_usd=1000.0)
    assert (second.matrix, second.status) == (first.matrix, "completed")
    assert second.cells[0].run == begun
    assert second.cost_usd == 100, f"some of the {scored} finished rollouts were paid for again"


async def retried(first: MatrixDocument, **changes: Any) -> MatrixDocument:
    """What becomes of a matrix when somebody presses Retry."""
    async with get_client() as client:
        await client.set_flow_run_state(UUID(first.flow_run_id), AwaitingRetry(scheduled_time=now()), force=True)
        run = await client.read_flow_run(UUID(first.flow_run_id))
    document = await run_flow_async(engine_bench_matrix, flow_run=run, parameters=dict(first.parameters) | changes)
    assert isinstance(document, MatrixDocument)
    return document


async def test_a_retry_begins_the_runs_that_never_began(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "clone"
    monkeypatch.setenv("ENGINE_BENCH_DIR", str(folder))
    with pytest.raises(MatrixIncomplete) as raised:
        await engine_bench_matrix(agents=["gold"], benchmarks=["engine-bench"])
    first = raised.value.document
    shutil.copytree(ROOT / "benchmarks/hello-world", folder)
    second = await retried(first)
    assert (second.matrix, second.status) == (first.matrix, "completed")


async def test_a_store_that_is_busy_for_a_moment_does_not_lift_the_limit(
    settings: Settings, paid: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    cost, looks = Matrix._cost, itertools.count()

    async def busy(self: Matrix) -> float | None:
        if next(looks) in (1, 2):  # the first look is from before the run
            raise InfrastructureError("The results store is locked.")
        return await cost(self)

    monkeypatch.setattr(Matrix, "_cost", busy)
    document = await incomplete(max_cost_usd=3, attempts=100, concurrency=1)
    assert next(looks) > 3
    assert document.status == "out-of-budget"
    assert [cell.status for cell in document.cells] == ["cancelled", "not-run"]


async def test_it_is_said_where_a_limit_on_costs_limits_nothing(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    asked: dict[str, Any] = {"agents": ["gold", "command"], "benchmarks": ["hello-world"], "agent_command": "true"}
    document = await engine_bench_matrix(**asked, max_cost_usd=3)
    assert "max_cost_usd does not limit hello-world · command" in caplog.text
    assert document.message == (
        "2 of 2 runs are complete. max_cost_usd did not limit hello-world · command: no cost was told."
    )


def test_the_command_shows_the_comparison(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    assert matrix_cli.matrix(parameters=MatrixParameters(**HELLO)) == exit_codes.OK
    assert "2 of 2 runs are complete." in capsys.readouterr().out
    assert matrix_cli.matrix(parameters=MatrixParameters(**HELLO), json=True) == exit_codes.OK
    assert json.loads(capsys.readouterr().out)["comparisons"][0]["difference"]["mean"] == -1.0
