"""The flow `engine-bench-matrix`: agents x models x benchmarks, run after run under one budget, and their comparison.

A run makes as many sandboxes at a time as it is told to, so runs follow one another: each has the machine, or the
quota, to itself, and what the budget has not paid for yet can still be left out.
"""

import asyncio
import json
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from prefect import Flow, flow
from prefect.artifacts import acreate_markdown_artifact
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from pydantic import ValidationError

from core.errors import EngineBenchError
from core.settings import Settings
from evals.store import Store, open_store
from flows.engine_bench import RunIncomplete, engine_bench
from flows.matrix_document import CellRow, MatrixDocument, MatrixStatus, cell_row, comparisons, markdown
from flows.matrix_parameters import BASELINES, UNPRICED, Cell, MatrixParameters
from flows.parameters import Parameters, form
from flows.result import ErrorRow, ResultDocument
from flows.run_folder import short_id
from flows.termination import to_its_end

COST_CHECK = 5
"""Seconds between two looks at what the agents have spent."""


class MatrixIncomplete(EngineBenchError):
    """Not every run of the matrix is complete; `document` holds what there is."""

    def __init__(self, document: MatrixDocument) -> None:
        super().__init__(document.message)
        self.document = document


def name_run() -> str:
    """Called by Prefect once the parameters of a run are known."""
    return MatrixParameters.model_validate(flow_run.get_parameters()).title


@flow(name="engine-bench-matrix", flow_run_name=name_run)
@form(MatrixParameters)
async def engine_bench_matrix(parameters: MatrixParameters) -> MatrixDocument:
    """Compare agents and models on benchmarks, one run after the other, as far as the budget goes."""
    settings = Settings()
    async with open_store(settings.resolved_store_url) as store:
        matrix = Matrix(parameters, settings, store)
        try:
            ended = await matrix.run()
        except BaseException:
            await to_its_end(matrix.conclude("cancelled"))
            raise
        document = await matrix.conclude("out-of-budget" if ended else "completed", ended)
        await acreate_markdown_artifact(
            markdown=markdown(document), key=f"matrix-{parameters.backend}", description=document.message
        )
    if document.status != "completed":
        raise MatrixIncomplete(document)
    return document


class Matrix:
    """The runs of one matrix, and what is known of them."""

    def __init__(self, parameters: MatrixParameters, settings: Settings, store: Store) -> None:
        self._parameters = parameters
        self._store = store
        self._flow_run_id = str(flow_run.get_id())
        self.name = f"matrix-{short_id(self._flow_run_id)}"
        self._folder = settings.results_dir.absolute() / self.name
        self._note = self._folder / "runs.json"
        self._runs: dict[str, str] = json.loads(self._note.read_text()) if self._note.exists() else {}
        """Ids of the runs that have begun, by cell; a retried matrix goes on with them."""
        self._errors: dict[Cell, ErrorRow] = {}
        self._started_at = datetime.now(UTC)
        self._ends_at = asyncio.get_running_loop().time() + (60 * parameters.max_minutes or math.inf)

    async def run(self) -> str:
        """Run one cell after the other; returns why it ended before the last one, empty if it did not."""
        self._warn_of_unpriced()
        for cell in self._parameters.cells:
            try:
                async with self._within_budget():
                    await self._run_cell(cell)
            except TimeoutError:
                if reason := await self._spent():
                    return reason
                raise
        return ""

    def _warn_of_unpriced(self) -> None:
        unpriced = [cell.label for cell in self._parameters.cells if cell.agent in UNPRICED]
        if self._parameters.max_cost_usd and unpriced:
            get_run_logger().warning(
                f"max_cost_usd does not limit {', '.join(unpriced)}: the agent does not tell what it costs. "
                "max_minutes limits every agent."
            )

    async def _run_cell(self, cell: Cell) -> None:
        """Run it, or go on with it. That it fails is in its row; the others go on."""
        try:
            parameters = await self._asked(cell)
            await self._noting(cell)(**parameters.model_dump())
        except RunIncomplete:
            return
        except Exception as error:
            get_run_logger().exception(f"{cell.label} has failed")
            self._errors[cell] = ErrorRow(kind=type(error).__name__, message=str(error))

    async def _asked(self, cell: Cell) -> Parameters:
        """What is to be run: the cell, or the rest of it where an earlier try has begun it."""
        begun = self._runs.get(cell.label)
        if begun and await self._store.find_run(begun):
            return Parameters(resume=begun)
        self._runs.pop(cell.label, None)  # it failed before there was anything to go on with
        return self._parameters.run(cell)

    def _noting(self, cell: Cell) -> Flow[..., Any]:
        """The flow of one run, its id written down when it begins, so that a retry does not run it anew."""

        def note_run(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:
            self._runs.setdefault(cell.label, str(flow_run.id))
            self._folder.mkdir(parents=True, exist_ok=True)
            self._note.write_text(json.dumps(self._runs, indent=2))

        return engine_bench.with_options(on_running=[note_run])

    @asynccontextmanager
    async def _within_budget(self) -> AsyncIterator[None]:
        """Cancels the block with a TimeoutError once the budget is spent; at once, if it is spent already."""
        if await self._spent():
            raise TimeoutError
        async with asyncio.timeout_at(None if math.isinf(self._ends_at) else self._ends_at) as limit:
            watching = asyncio.create_task(self._watch(limit))
            try:
                yield
            finally:
                watching.cancel()
                with suppress(asyncio.CancelledError):
                    await watching

    async def _watch(self, limit: asyncio.Timeout) -> None:
        while self._parameters.max_cost_usd:
            await asyncio.sleep(COST_CHECK)
            try:
                spent = await self._spent()
            except EngineBenchError as error:
                # the next look may succeed, and ending the watch would lift the limit
                get_run_logger().warning(f"What has been spent can't be told now, and will be looked up again: {error}")
                continue
            if spent:
                limit.reschedule(asyncio.get_running_loop().time())
                return

    async def _spent(self) -> str:
        """What of the budget is spent, empty as long as nothing is."""
        if asyncio.get_running_loop().time() >= self._ends_at:
            return f"The {self._parameters.max_minutes:g} minutes are over"
        if self._parameters.max_cost_usd and (cost := await self._cost() or 0) >= self._parameters.max_cost_usd:
            return f"${cost:.2f} of ${self._parameters.max_cost_usd:.2f} are spent"
        return ""

    async def _cost(self) -> float | None:
        """US dollars so far, None where no agent tells."""
        rows = [row for run_id in list(self._runs.values()) for row in await self._store.rows(run_id)]
        told = [row.cost_usd for row in rows if row.cost_usd is not None]
        return math.fsum(told) if told else None

    async def conclude(self, status: MatrixStatus, reason: str = "") -> MatrixDocument:
        """Write the document down; a matrix that came to its end is `incomplete` if a run of it is."""
        cells = self._parameters.cells
        results = {cell: result for cell in cells if (result := await self._result(cell))}
        done = sum(result.status == "completed" for result in results.values())
        if done == len(cells):
            status = "completed"
        elif status == "completed":
            status = "incomplete"
        rows = {cell: cell_row(cell, results.get(cell), self._errors.get(cell)) for cell in cells}
        document = MatrixDocument(
            matrix=self.name,
            flow_run_id=self._flow_run_id,
            status=status,
            message=f"{done} of {len(cells)} runs are complete."
            + (f" {reason}." if reason else "")
            + self._unlimited(rows),
            started_at=self._started_at,
            finished_at=datetime.now(UTC),
            cost_usd=await self._cost(),
            parameters=self._parameters.model_dump(),
            cells=list(rows.values()),
            comparisons=comparisons(results),
        )
        document.write(self._folder)
        get_run_logger().info(f"{document.message} Report: {self._folder / 'matrix.md'}")
        return document

    def _unlimited(self, rows: Mapping[Cell, CellRow]) -> str:
        """Names the runs that the limit on costs had nothing to go by for; empty where there are none."""
        untold = [
            cell.label
            for cell, row in rows.items()
            if cell.agent not in BASELINES and row.cost_usd is None and row.counts and row.counts.scored
        ]
        if not self._parameters.max_cost_usd or not untold:
            return ""
        return f" max_cost_usd did not limit {', '.join(untold)}: no cost was told."

    async def _result(self, cell: Cell) -> ResultDocument | None:
        run = await self._store.find_run(self._runs[cell.label]) if cell.label in self._runs else None
        try:
            return ResultDocument.model_validate(run.document) if run and run.document else None
        except ValidationError:
            return None  # of a run that another version began: nothing to compare with
