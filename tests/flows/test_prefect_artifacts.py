"""The live progress of a run: what the Prefect server does with it must not end what is paid for."""

from typing import Any

import httpx
import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from core.settings import Settings
from evals.models import Progress
from flows import prefect_artifacts
from flows.parameters import Parameters
from flows.plan import make_plan
from flows.prefect_artifacts import LiveProgress

KEY = "progress-sample-local"


def ten_rollouts() -> LiveProgress:
    return LiveProgress(make_plan(Parameters(seeds=10), "run", Settings()))


async def test_progress_that_somebody_deletes_is_shown_anew(in_process: None, prefect_api: httpx.Client) -> None:
    def latest() -> dict[str, Any]:
        found: dict[str, Any] = prefect_api.get(f"artifacts/{KEY}/latest").raise_for_status().json()
        return found

    @flow
    async def run() -> None:
        progress = ten_rollouts()
        await progress.begin()
        async with get_client() as client:
            for made in await client.read_artifacts(artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[KEY]))):
                await client.delete_artifact(made.id)
        for done in (4, 5):
            await progress.update(1, Progress(completed=done, total=10, mean_reward=1.0))

    await run()
    assert latest()["description"] == "5 of 10 rollouts, mean reward 1.000"


async def test_a_server_that_takes_no_progress_is_told_of_once(
    in_process: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(**_: Any) -> None:
        raise httpx.ConnectError("nobody is there")

    monkeypatch.setattr(prefect_artifacts, "aupdate_progress_artifact", refuse)

    @flow
    async def run() -> None:
        progress = ten_rollouts()
        await progress.begin()
        for done in range(1, 11):
            await progress.update(1, Progress(completed=done, total=10, mean_reward=1.0))

    await run()
    assert caplog.text.count("does not take the progress") == 1
