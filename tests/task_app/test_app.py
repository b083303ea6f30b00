"""The task app over HTTP: who may call what, and how requests are refused."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from task_app.agents import AGENTS
from task_app.app import create_app
from task_app.errors import InfrastructureFailure
from tests.task_app.serving import KEY, NONCE, RESPOND_ASYNC, ended, rollout, serving, settings

GUARDED = [
    ("GET", "/info"),
    ("GET", "/task_info"),
    ("POST", "/rollout"),
    ("GET", "/rollouts/x"),
    ("DELETE", "/rollouts/x"),
    ("POST", "/done"),
]


async def test_health_and_root_need_no_key(hello: httpx.AsyncClient) -> None:
    await hello.post("/rollout", json=rollout("one"))  # it is ready once a rollout has ended
    del hello.headers["X-API-Key"]
    health = await hello.get("/health")
    assert (health.status_code, health.json()) == (200, {"status": "ok", "nonce": NONCE, "detail": None})
    assert (await hello.get("/")).json()["benchmark"] == "hello-world"


@pytest.mark.parametrize("key", [None, b"", b"the-ke", b"the-key2", b"THE-KEY", "schlüssel".encode()])
async def test_everything_else_needs_the_key(hello: httpx.AsyncClient, key: bytes | None) -> None:
    del hello.headers["X-API-Key"]
    for method, path in GUARDED:
        reply = await hello.request(method, path, headers={} if key is None else {b"X-API-Key": key})
        assert (method, path, reply.status_code) == (method, path, 401)
        assert KEY not in reply.text


async def test_no_docs_and_no_cross_origin_calls(hello: httpx.AsyncClient) -> None:
    for path in ("/docs", "/redoc", "/openapi.json", "/debug", "/metrics"):
        assert (await hello.get(path)).status_code == 404
    for method in ("GET", "OPTIONS"):
        reply = await hello.request(method, "/health", headers={"Origin": "http://evil.example"})
        assert not [name for name in reply.headers if name.startswith("access-control")]


async def test_info(hello: httpx.AsyncClient) -> None:
    await hello.post("/rollout", json=rollout("one"))  # it is ready once a rollout has ended
    info = (await hello.get("/info")).json()
    assert info["benchmark"]["name"] == "hello-world"
    assert info["benchmark"]["instances"] == 1
    assert info["benchmark"]["splits"]["hello"] == 1
    assert set(info["agents"]) == set(AGENTS)
    assert info["versions"]["task_app"]
    assert info["isolation"] in {"namespace", "user", "process"}


async def test_task_info(hello: httpx.AsyncClient) -> None:
    async def ask(**query: Any) -> Any:
        return (await hello.get("/task_info", params=query)).json()

    assert (await ask())["instances"] == ["hello-world"]
    assert (await ask(seed=7))["id"] == "hello-world"
    assert [task["seed"] for task in await ask(seed=[0, 7])] == [0, 0]
    assert "hello" in (await ask(split="nope"))["detail"]
    assert "0 or more" in (await ask(seed=-1))["detail"]
    assert "seed" in (await ask(seed="x"))["detail"]


async def test_synchronous_rollout(hello: httpx.AsyncClient) -> None:
    reply = await hello.post("/rollout", json=rollout("one", "gold", seed=2))
    assert reply.status_code == 200
    body = reply.json()
    assert body["trace_correlation_id"] == "one"
    assert body["success_status"] == "success"
    assert body["reward_info"]["outcome_reward"] == 1.0
    details = body["reward_info"]["details"]
    assert (details["instance"], details["seed"], details["attempt"]) == ("hello-world", 0, 2)
    assert set(details["phases"]) >= {"queue", "prepare", "agent"}
    assert {artifact["name"] for artifact in body["artifact"]} == {"final.txt", "diff.patch", "agent.log"}


async def test_seeds_may_be_any_number(hello: httpx.AsyncClient) -> None:
    body = (await hello.post("/rollout", json=rollout("one", seed=10**30))).json()
    assert body["reward_info"]["details"]["attempt"] == 10**30


async def test_noop_earns_nothing_and_says_why(hello: httpx.AsyncClient) -> None:
    body = (await hello.post("/rollout", json=rollout("one", "noop"))).json()
    assert body["reward_info"]["outcome_reward"] == 0.0
    assert body["reward_info"]["details"]["failure"] == {"kind": "agent-failed", "message": "hello.txt is not there."}


@pytest.mark.parametrize("prefer", ["respond-async", "wait=10, Respond-Async", "respond-async; x=1"])
async def test_asynchronous_rollout(hello: httpx.AsyncClient, prefer: str) -> None:
    reply = await hello.post("/rollout", json=rollout("a.b:c-1"), headers={"Prefer": prefer})
    assert reply.status_code == 202
    assert reply.json() == {"trace_correlation_id": "a.b:c-1", "status": "queued"}
    assert reply.headers["Location"] == "/rollouts/a.b:c-1"
    assert (await ended(hello, "a.b:c-1"))["reward_info"]["outcome_reward"] == 1.0
    again = await hello.post("/rollout", json=rollout("a.b:c-1"), headers={"Prefer": prefer})
    assert again.status_code == 200


async def test_done(hello: httpx.AsyncClient) -> None:
    assert (await hello.post("/done", json={"anything": 1})).status_code == 200


@pytest.mark.parametrize(
    ("body", "allowed"),
    [
        (rollout("x", "nobody"), "Agents: gold, noop, opencode, codex, claude_code, command."),
        (rollout("x", benchmark="sample"), "Benchmarks: hello-world."),
        (rollout("x", split="df"), "Splits: hello, easy."),
    ],
)
async def test_what_is_not_here_is_refused_with_what_is(
    hello: httpx.AsyncClient, body: dict[str, Any], allowed: str
) -> None:
    reply = await hello.post("/rollout", json=body)
    assert reply.status_code == 422
    assert allowed in reply.json()["detail"]
    assert (await hello.get("/rollouts/x")).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"null",
        b"[" * 100_000,
        rb'{"trace_correlation_id": "x", "env": {"seed": 0, "env_name": "\ud800"}}',
        json.dumps(rollout("../../etc")).encode(),
        json.dumps(rollout("x", seed=-1)).encode(),
        json.dumps({"trace_correlation_id": "x", "env": {"seed": "one"}}).encode(),
        json.dumps(rollout("x") | {"policy": {"config": {"timeout": float("nan")}}}).encode(),
        json.dumps(rollout("x") | {"policy": {"config": {"timeout": 1e9}}}).encode(),
    ],
)
async def test_malformed_bodies_are_refused_in_a_sentence(hello: httpx.AsyncClient, body: bytes) -> None:
    reply = await hello.post("/rollout", content=body)
    assert reply.status_code == 422
    assert reply.json()["detail"].startswith("The request is not valid. ")
    assert reply.json()["detail"].endswith(".")


async def _chunks() -> AsyncIterator[bytes]:
    for _ in range(9):
        yield b" " * (1 << 20)


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_over_8_mb_is_refused(hello: httpx.AsyncClient, chunked: bool) -> None:
    reply = await hello.post("/rollout", content=_chunks() if chunked else b" " * (9 << 20))
    assert reply.status_code == 413
    assert "8192 KB" in reply.json()["detail"]
    assert (await hello.get("/health")).status_code == 200


async def test_unknown_paths_and_methods(hello: httpx.AsyncClient) -> None:
    assert (await hello.get("/nowhere")).json()["detail"] == "Not Found: GET /nowhere is not served here."
    assert (await hello.put("/health")).status_code == 405
    assert "no rollout nobody" in (await hello.get("/rollouts/nobody")).json()["detail"]


async def test_an_unforeseen_error_shows_its_class_alone(tmp_path: Path) -> None:
    app = create_app(settings(tmp_path / "work"))

    @app.get("/broken")
    async def broken() -> None:
        raise ZeroDivisionError("secret internals")

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://task-app") as client:
        reply = await client.get("/broken")
    assert (reply.status_code, reply.json()) == (500, {"detail": "ZeroDivisionError"})


async def _fail_to_warm(*_: object) -> None:
    raise InfrastructureFailure("There is no cargo.")


async def test_what_can_not_get_ready_says_so_and_scores_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("task_app.benchmarks.hello_world.HelloWorld.warm", _fail_to_warm)
    async with serving(settings(tmp_path / "work")) as client:
        reply = await client.post("/rollout", json=rollout("sync"))
        assert reply.status_code == 503
        assert "There is no cargo." in reply.json()["detail"]
        await client.post("/rollout", json=rollout("async"), headers=RESPOND_ASYNC)
        response = await ended(client, "async")
        assert response["success_status"] == "infrastructure_failure"
        assert response["reward_info"]["outcome_reward"] is None
        health = (await client.get("/health")).json()
        assert (health["status"], health["detail"]) == ("failed", "There is no cargo.")
