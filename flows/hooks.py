"""What runs when a flow run has ended badly, perhaps in another process than the run itself.

Prefect passes the arguments by name, and only logs what a hook raises. So these are short, go by the flow run's id
alone, and may run twice.
"""

from collections.abc import Iterable

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging import get_logger

from core.errors import EngineBenchError
from core.settings import Settings
from flows.sweep import our_sandboxes
from sandboxes import BACKENDS


async def remove_own_sandboxes(flow: Flow[..., object], flow_run: FlowRun, state: State[object]) -> None:
    """Remove what this run's own cleanup has missed: for on_failure, on_crashed and on_cancellation."""
    logger = get_logger("engine-bench.hooks")

    def left_out(backend: str, error: EngineBenchError) -> None:
        logger.debug(f"Backend {backend} is left to the sweep: {error}")

    async with our_sandboxes(Settings(), left_out, _backends(flow_run)) as found:
        for backend, record in found:
            if record.spec.run_id == str(flow_run.id):
                logger.warning(
                    f"Removing {record.spec.name}, which flow run {flow_run.name} ({state.name}) left behind"
                )
                await backend.cleanup(record.spec)


def _backends(flow_run: FlowRun) -> Iterable[str]:
    """Where its sandboxes can be: one that goes on with another run's results has the backend of that run."""
    asked = flow_run.parameters
    return BACKENDS if asked.get("resume") or asked.get("rescore") else {str(asked.get("backend", "local"))}
