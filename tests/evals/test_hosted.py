"""The client with the real EvalJob on an eval service that is not ours."""

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from core.errors import ConfigurationError, InfrastructureError
from evals import client as client_module
from evals.client import EvalClient
from evals.synth import EvalServiceUnavailable
from evals.task_app_client import Patience
from tests.evals.scripted import Make, ScriptedEvalService


@pytest.fixture
def client(hosted: ScriptedEvalService) -> EvalClient:
    return EvalClient(hosted.url, hosted.api_key)


async def test_rows_without_our_details_are_mapped_as_far_as_they_go(
    client: EvalClient, hosted: ScriptedEvalService, make_request: Make
) -> None:
    hosted.results = [
        {"seed": 0, "reward": 0.0, "tokens": 7, "cost_usd": 0.0, "latency_ms": 1500.0, "correlation_id": "c-0"},
        {"seed": 1, "reward": None, "local_api_reward": 0.0},
        {"seed": 2, "score": 1},
        {"seed": 3, "reward": 0.0, "error": "rollout HTTP 503"},
        {"seed": 4, "reward": True},
        {"seed": 5, "reward": 7},
    ]
    outcome = await client.run(make_request(seeds=[0, 1, 2, 3, 4, 5, 6]))

    assert [row.seed for row in outcome.rows] == [0, 1, 2, 3, 4, 5, 6]
    assert [row.reward for row in outcome.rows] == [0.0, 0.0, 1.0, None, None, None, None]
    assert [row.error.kind for row in outcome.rows if row.error] == [
        "eval_service",
        "invalid_reward",
        "invalid_reward",
        "missing",
    ]
    assert all(row.infrastructure_failure == (row.reward is None) for row in outcome.rows)
    first = outcome.rows[0]
    assert (first.correlation_id, first.tokens, first.cost_usd, first.latency_ms) == ("c-0", 7, 0.0, 1500.0)


async def test_a_job_is_submitted_as_the_protocol_says(
    client: EvalClient, hosted: ScriptedEvalService, make_request: Make
) -> None:
    request = make_request(seeds=[4], split="easy")
    await client.run(request)
    assert hosted.submitted == [
        {
            "task_app_url": request.task_app_url,
            "task_app_api_key": request.task_app_api_key.get_secret_value(),
            "app_id": "engine-bench",
            "env_name": "scripted",
            "seeds": [4],
            "policy": {"agent": "gold", "model": None, "timeout": 20},
            "env_config": {"benchmark": "scripted", "split": "easy", "run_id": "run-1"},
            "verifier_config": None,
            "max_concurrent": 2,
            "timeout": 20,
        }
    ]


async def test_failed_jobs_keep_their_rows(client: EvalClient, hosted: ScriptedEvalService, make_request: Make) -> None:
    hosted.status_answers = [(200, {"status": "failed", "error": "out of credit"})]
    hosted.results = {"items": [{"seed": 0, "reward": 1.0}]}
    outcome = await client.run(make_request())
    assert (outcome.status, outcome.error) == ("failed", "out of credit")
    assert [row.reward for row in outcome.rows] == [1.0, None, None]
    assert outcome.rows[1].error is not None
    assert "out of credit" in outcome.rows[1].error.message


async def test_a_hiccup_is_waited_out(client: EvalClient, hosted: ScriptedEvalService, make_request: Make) -> None:
    hosted.status_answers = [
        (503, {}),
        (429, {}),
        (200, ["odd"]),
        (200, {"status": "running"}),
        (200, {"status": "succeeded"}),
    ]
    hosted.results = [{"seed": seed, "reward": 1.0} for seed in range(3)]
    assert (await client.run(make_request())).status == "completed"


async def test_a_service_out_of_reach_leaves_the_job_to_a_retry(
    client: EvalClient, hosted: ScriptedEvalService, make_request: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "POLL_TRIES", 2)
    hosted.status_answers = [(503, {})]
    with pytest.raises(EvalServiceUnavailable, match="503"):
        await client.run(make_request())
    assert hosted.cancellations == 0


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        ((401, {"detail": "no"}), ConfigurationError, "refuses the key"),
        ((404, {"detail": "no"}), InfrastructureError, "does not know this job"),
        ((200, {"status": "melting"}), ConfigurationError, "unknown job status 'melting'"),
    ],
)
async def test_what_can_not_pass_ends_the_wait_at_once(
    client: EvalClient,
    hosted: ScriptedEvalService,
    make_request: Make,
    answer: tuple[int, Any],
    error: type[Exception],
    message: str,
) -> None:
    hosted.status_answers = [answer]
    with pytest.raises(error, match=message):
        await client.run(make_request())
    assert hosted.cancellations == 1


@pytest.mark.parametrize(
    ("code", "error", "message"),
    [
        (401, ConfigurationError, "refuses the key"),
        (404, ConfigurationError, "There is no eval service at this address"),
        (422, ConfigurationError, "Correct the run's parameters"),
        (500, EvalServiceUnavailable, "run again"),
        (200, EvalServiceUnavailable, "No job_id"),
    ],
)
async def test_keys_are_not_repeated_when_a_submission_fails(
    client: EvalClient,
    hosted: ScriptedEvalService,
    make_request: Make,
    code: int,
    error: type[Exception],
    message: str,
) -> None:
    request = make_request()
    keys = [hosted.api_key.get_secret_value(), request.task_app_api_key.get_secret_value()]
    hosted.submit_answer = (code, {"detail": f"got {keys}"})
    with pytest.raises(error, match=message) as raised:
        await client.run(request)
    assert not any(key in repr(raised.value) for key in keys)
    assert raised.value.__context__ is None or raised.value.__suppress_context__


@pytest.mark.parametrize("key", ["", "key-with-a-line-break\n", " key-after-a-blank", "kéy-of-another-alphabet"])
async def test_keys_that_can_not_be_sent_are_refused_unquoted(
    hosted: ScriptedEvalService, make_request: Make, key: str
) -> None:
    secret, client = SecretStr(key), EvalClient(hosted.url, hosted.api_key)
    runs = [
        (EvalClient(hosted.url, secret), make_request()),
        (client, make_request(task_app_api_key=secret)),
        (EvalClient(hosted.url, hosted.api_key, share_headers=print), make_request(task_app_headers={"X-T": secret})),
    ]
    for client, request in runs:
        with pytest.raises(ConfigurationError, match=r"is empty|copy it anew") as raised:
            await client.run(request)
        assert not key.strip() or key.strip() not in repr(raised.value)
    assert hosted.submitted == []


async def test_keys_are_in_no_repr(client: EvalClient, hosted: ScriptedEvalService, make_request: Make) -> None:
    request = make_request(task_app_headers={"X-Token": SecretStr("preview-token-1")})
    shown = f"{client!r} {vars(client)!r} {request!r} {request} {Patience()!r}"
    for key in (hosted.api_key, request.task_app_api_key, request.task_app_headers["X-Token"]):
        assert key.get_secret_value() not in shown


async def test_headers_can_not_go_through_a_hosted_service(client: EvalClient, make_request: Make) -> None:
    with pytest.raises(ConfigurationError, match="behind a gate"):
        await client.run(make_request(task_app_headers={"X-Token": SecretStr("t")}))


async def test_a_proxy_for_loopback_is_refused(
    client: EvalClient, hosted: ScriptedEvalService, make_request: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(ConfigurationError, match="NO_PROXY"):
        await client.run(make_request())
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert (await client.run(make_request())).status == "completed"


def _zip(*members: tuple[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


@pytest.mark.parametrize(
    ("traces", "message"),
    [
        (_zip(("fine.txt", b"fine"), ("../escaped.txt", b"!")), "outside their folder"),
        (_zip(("/tmp/escaped.txt", b"!")), "outside their folder"),
        (_zip(("..\\escaped.txt", b"!")), "outside their folder"),
        (_zip(("bomb", bytes(20_000_000))), "would unpack"),
        (b"no zip at all", "no readable zip"),
    ],
    ids=["parent", "absolute", "backslash", "bomb", "no zip"],
)
async def test_traces_that_would_do_harm_are_not_unpacked(
    client: EvalClient, hosted: ScriptedEvalService, tmp_path: Path, traces: bytes, message: str
) -> None:
    hosted.traces = traces
    with pytest.raises(InfrastructureError, match=message):
        await client.download_traces("eval-hosted", tmp_path / "traces")
    assert os.listdir(tmp_path) == []
