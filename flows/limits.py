"""Limits over all runs: how many sandboxes there are at a time, and how many rollouts ask one model provider.

They are Prefect's global concurrency limits, found by name; where there is none, nothing is limited.
A slot is a lease: that of a killed run is free again once the lease has run out. A lane holds its sandbox's slot
while its rollouts wait for the provider's, never the other way round, so no two can wait for each other.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
from prefect.client.orchestration import get_client
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError, concurrency
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from core.errors import InfrastructureError

LEASE = 120.0
"""Seconds; it is renewed as long as its holder lives."""
PATIENCE = 2.0
"""Seconds after which it is said what is waited for."""
ASKED = 5
"""Times that a Prefect server which does not answer is asked for a slot, each with the retries of Prefect's client."""


def sandboxes_of(backend: str) -> str:
    """Name of the limit on sandboxes of a backend."""
    return f"engine-bench-sandboxes-{backend}"


def rollouts_at(provider: str) -> str:
    """Name of the limit on rollouts that ask a model provider."""
    return f"engine-bench-provider-{provider}"


class Limit:
    """A limit that there may be."""

    def __init__(self, name: str, *, exists: bool) -> None:
        self.name = name
        self._exists = exists

    @classmethod
    async def find(cls, name: str) -> "Limit":
        """Look it up, once a run: a limit that is made meanwhile holds from the next run on."""
        async with get_client() as client:
            try:
                limit = await client.read_global_concurrency_limit_by_name(name)
            except ObjectNotFound:
                return cls(name, exists=False)
        return cls(name, exists=limit.active)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it.

        Raises:
            InfrastructureError: the Prefect server can't be asked for one.
        """
        if not self._exists:
            yield
            return
        held = await self._acquired()
        try:
            yield
        finally:
            await self._release(held)

    async def _acquired(self) -> AsyncExitStack:
        logger = get_run_logger()
        waiting = asyncio.get_running_loop().call_later(
            PATIENCE, lambda: logger.info(f"Waiting for a slot of the global limit {self.name}")
        )
        asking = AsyncRetrying(
            retry=retry_if_exception_type(ConcurrencySlotAcquisitionError),
            stop=stop_after_attempt(ASKED),
            wait=wait_random_exponential(multiplier=1, max=10),
            reraise=True,
        )
        try:
            return await asking(self._ask)
        except ConcurrencySlotAcquisitionError as error:
            raise InfrastructureError(
                f"Could not get a slot of the global limit {self.name}: {error}. Check the Prefect server, then resume."
            ) from error
        finally:
            waiting.cancel()

    async def _ask(self) -> AsyncExitStack:
        held = AsyncExitStack()
        # a lease that can't be renewed must not end what is paid for already
        slot = concurrency(self.name, lease_duration=LEASE, raise_on_lease_renewal_failure=False)
        await held.enter_async_context(slot)
        return held

    async def _release(self, held: AsyncExitStack) -> None:
        try:
            await held.aclose()
        except httpx.HTTPError as error:
            why = type(error).__name__
            get_run_logger().warning(
                f"A slot of {self.name} is free in {LEASE:g} s only: giving it back failed ({why})"
            )
