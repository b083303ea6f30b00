"""The global concurrency limits that runs obey where they exist; see flows/limits.py."""

from collections.abc import Mapping

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.exceptions import ObjectNotFound

from deployments.work_pool import unless_there
from flows.limits import rollouts_at, sandboxes_of

LIMITS: Mapping[str, int] = {
    sandboxes_of("daytona"): 64,
    rollouts_at("openai"): 64,
    rollouts_at("anthropic"): 64,
    rollouts_at("proxy"): 64,
}
"""So that one run of the largest size does not notice them. Lower them to what the accounts allow."""


async def ensure_limits(client: PrefectClient) -> None:
    """Create what is missing; limits that somebody has changed since are kept."""
    for name, limit in LIMITS.items():
        try:
            await client.read_global_concurrency_limit_by_name(name)
        except ObjectNotFound:
            wanted = GlobalConcurrencyLimitCreate(name=name, limit=limit)
            await unless_there(client.create_global_concurrency_limit(wanted))
