"""Which run a flow run works on: a new one, its own that is retried, an earlier one that it resumes or grades again."""

from prefect.runtime import flow_run

from core.errors import ConfigurationError
from core.settings import Settings
from evals.models import Row
from evals.store import Store, StoredRun
from flows.parameters import Parameters
from flows.plan import Plan, make_plan


async def plan_run(parameters: Parameters, settings: Settings, store: Store) -> Plan:
    """Plan this flow run. What is scored already is not run again.

    Raises:
        ConfigurationError: the parameters ask for what is not there.
    """
    run_id = flow_run_id = str(flow_run.get_id())
    if parameters.resume and parameters.rescore:
        raise ConfigurationError("`resume` and `rescore` exclude each other. Give one of them.")
    if parameters.resume:
        resumed = await _find(store, parameters.resume)
        run_id, parameters = resumed.id, Parameters.model_validate(resumed.parameters)
    former: list[Row] | None = None
    if parameters.rescore:
        source = await _find(store, parameters.rescore)
        asked_then = Parameters.model_validate(source.parameters)
        parameters = asked_then.model_copy(update={"rescore": source.id})
        former = await _scored(store, source.id)
    scored = {row.seed for row in await _scored(store, run_id)}
    only = None if former is None else {row.seed for row in former}
    plan = make_plan(parameters, flow_run_id, settings, run_id=run_id, scored=scored, only=only)
    if former is not None:
        _require_same_instances(plan, former)
    return plan


async def _find(store: Store, wanted: str) -> StoredRun:
    run = await store.find_run(wanted)
    if run is None:
        raise ConfigurationError(
            f"There is no run {wanted!r} in the results store {store.location}. "
            "A run's name is that of its folder under results/."
        )
    return run


async def _scored(store: Store, run_id: str) -> list[Row]:
    return [row for row in await store.rows(run_id) if row.reward is not None]


def _require_same_instances(plan: Plan, former: list[Row]) -> None:
    """Seeds count through the instances: where those are others now, code would be graded as another one's."""
    if not former:
        raise ConfigurationError(
            f"Run {plan.parameters.rescore} has no score yet, so there is nothing to grade again. Resume it instead."
        )
    for row in former:
        now = plan.instances[row.seed % len(plan.instances)]
        if row.instance not in (None, now):
            raise ConfigurationError(
                f"The instances of {plan.parameters.benchmark} have changed: what was {row.instance} in run "
                f"{plan.parameters.rescore} would be graded as {now}. Bring its instances back to what they were."
            )
