"""`make deploy`: registers work pool, limits, deployments, automations. Running it again updates what has changed."""

import asyncio
import os
import subprocess
import sys

from prefect.client.orchestration import get_client

from core.errors import EngineBenchError, InfrastructureError
from deployments.api import required_api
from deployments.automations import apply_automations
from deployments.limits import ensure_limits
from deployments.pull import ROOT
from deployments.work_pool import ensure_work_pool
from flows.api import Api


def register(api: Api) -> None:
    """Register everything with the API that the current Prefect settings name too.

    Raises:
        InfrastructureError: Prefect refused a deployment; the message holds what it said.
    """
    asyncio.run(_ensure_work_pool_and_limits())
    _deploy(api)
    asyncio.run(_apply_automations())


async def _ensure_work_pool_and_limits() -> None:
    async with get_client() as client:
        await ensure_work_pool(client)
        await ensure_limits(client)


async def _apply_automations() -> None:
    async with get_client() as client:
        await apply_automations(client)


def _deploy(api: Api) -> None:
    """All deployments of prefect.yaml. As a command, since Prefect's own code for it is private."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | api.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise InfrastructureError(f"`prefect deploy --all` failed with exit code {done.returncode}:\n{done.stdout}")


def main() -> None:
    try:
        api = required_api()
        register(api)
    except EngineBenchError as error:
        sys.exit(f"Error: {error}")
    sys.stdout.write(f"Registered with {api.api_url}. The deployments: {api.ui_url}/deployments\n")


if __name__ == "__main__":
    main()
