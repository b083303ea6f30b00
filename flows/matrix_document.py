"""The outcome of a matrix, `results/<matrix>/matrix.json` and `matrix.md`: its runs, compared pair by pair."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

from evals import statistics
from evals.statistics import Counts, Difference, McNemar
from flows.document import rows_of
from flows.matrix_parameters import Cell
from flows.prefect_artifacts import number
from flows.result import ErrorRow, ResultDocument, RunStatus

SCHEMA_VERSION: Final = 1

MatrixStatus = Literal["completed", "incomplete", "out-of-budget", "cancelled"]
"""`completed`: every run is; `incomplete`: some run is not; `out-of-budget`, `cancelled`: it was ended before that."""


class CellRow(BaseModel):
    """One run of the matrix."""

    benchmark: str
    agent: str
    model: str
    run: str | None
    """Its name, and that of its folder; null if it did not begin."""
    status: RunStatus | Literal["not-run"]
    error: ErrorRow | None
    mean_reward: float | None
    interval_95: tuple[float, float] | None
    counts: Counts | None
    pass_at_k: dict[int, float]
    tokens: int | None
    """Null if the agent does not tell."""
    cost_usd: float | None


class ComparisonRow(BaseModel):
    """Two runs on one benchmark. The second is `after`, the first `before`."""

    benchmark: str
    before: str
    """Agent and model."""
    after: str
    difference: Difference
    mcnemar: McNemar


class MatrixDocument(BaseModel):
    model_config = ConfigDict(ser_json_inf_nan="null")

    schema_version: Literal[1] = SCHEMA_VERSION
    matrix: str
    """Name of the matrix, and of its folder."""
    flow_run_id: str
    status: MatrixStatus
    message: str
    """What became of it, in a sentence."""
    started_at: datetime
    finished_at: datetime
    cost_usd: float | None
    """Null if no agent told what it cost."""
    parameters: dict[str, object]
    cells: list[CellRow]
    comparisons: list[ComparisonRow]
    """Of each two runs on the same benchmark and content that share a scored instance; none is corrected for their
    number."""

    def write(self, folder: Path) -> None:
        """Replaces an earlier document in one step, so that a reader never sees half of one."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in (("matrix.json", self.model_dump_json(indent=2) + "\n"), ("matrix.md", markdown(self))):
            draft = folder / f"{name}.tmp"
            draft.write_text(content)
            draft.replace(folder / name)


def cell_row(cell: Cell, result: ResultDocument | None, error: ErrorRow | None) -> CellRow:
    """The row of a run; `result` is None where it left none, and `error` says why that is, if it is known."""
    if result is None:
        return CellRow(
            **cell.model_dump(),
            run=None,
            status="failed" if error else "not-run",
            error=error,
            mean_reward=None,
            interval_95=None,
            counts=None,
            pass_at_k={},
            tokens=None,
            cost_usd=None,
        )
    return CellRow(
        **cell.model_dump(),
        run=result.run,
        status=result.status,
        error=result.error,
        mean_reward=result.mean_reward,
        interval_95=result.interval_95,
        counts=result.counts,
        pass_at_k=result.pass_at_k,
        tokens=_total([row.tokens for row in result.rollouts]),
        cost_usd=_total([row.cost_usd for row in result.rollouts]),
    )


def comparisons(results: Mapping[Cell, ResultDocument]) -> list[ComparisonRow]:
    """Compare each two runs on the same benchmark, by what both have scored."""
    pairs = combinations(results.items(), 2)
    rows = (_comparison(before, after) for before, after in pairs if _same_benchmark(before[1], after[1]))
    return [row for row in rows if row]


def _same_benchmark(before: ResultDocument, after: ResultDocument) -> bool:
    return before.benchmark == after.benchmark


def _comparison(before: tuple[Cell, ResultDocument], after: tuple[Cell, ResultDocument]) -> ComparisonRow | None:
    earlier, later = rows_of(before[1]), rows_of(after[1])
    difference, mcnemar = statistics.paired_difference(earlier, later), statistics.mcnemar(earlier, later)
    if difference is None or mcnemar is None:
        return None
    return ComparisonRow(
        benchmark=before[0].benchmark,
        before=before[0].contestant,
        after=after[0].contestant,
        difference=difference,
        mcnemar=mcnemar,
    )


def markdown(document: MatrixDocument) -> str:
    """The comparison report, as it stands in the folder and in the Prefect UI."""
    cost = "not told by the agents" if document.cost_usd is None else f"${document.cost_usd:.2f}"
    lines = [
        f"# {document.matrix}",
        "",
        f"{document.message} Cost: {cost}.",
        "",
        "| benchmark | agent | model | mean reward | 95% | solved | pass@k | cost | status |",
        "|---|---|---|---|---|---|---|---|---|",
        *map(_cell_line, document.cells),
        "",
    ]
    if document.comparisons:
        lines += [
            "Difference: the second less the first, paired by instance. p: McNemar's exact test on what they solved. "
            f"Of {len(document.comparisons)} comparisons; neither is corrected for their number.",
            "",
            "| benchmark | first | second | difference | 95% | instances | only first solved | only second | p |",
            "|---|---|---|---|---|---|---|---|---|",
            *map(_comparison_line, document.comparisons),
            "",
        ]
    return "\n".join(lines)


def _cell_line(row: CellRow) -> str:
    status = row.status + (f": {row.error.message}" if row.error else "")
    return _line(
        row.benchmark,
        row.agent,
        row.model,
        number(row.mean_reward),
        "" if row.interval_95 is None else "{:.3f} to {:.3f}".format(*row.interval_95),
        "" if row.counts is None else f"{row.counts.solved} of {row.counts.total}",
        ", ".join(f"@{k} {value:.3f}" for k, value in row.pass_at_k.items()),
        "" if row.cost_usd is None else f"${row.cost_usd:.2f}",
        status,
    )


def _comparison_line(row: ComparisonRow) -> str:
    interval = row.difference.interval_95
    return _line(
        row.benchmark,
        row.before,
        row.after,
        f"{row.difference.mean:+.3f}",
        "" if interval is None else "{:+.3f} to {:+.3f}".format(*interval),
        str(row.difference.instances),
        str(row.mcnemar.only_before),
        str(row.mcnemar.only_after),
        f"{row.mcnemar.p_value:.3g}",
    )


def _line(*cells: str) -> str:
    escaped = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def _total(values: Sequence[float | int | None]) -> float | None:
    told = [value for value in values if value is not None]
    return sum(told) if told else None
