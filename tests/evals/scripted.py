"""Peers that keep their contract but for what a test scripts: a task app and a hosted eval service, both real HTTP."""

import asyncio
import json
import threading
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import SecretStr

from evals.models import EvalRequest

Make = Callable[..., EvalRequest]

Fault = Callable[[int, dict[str, Any]], Response | None]
"""What to answer instead to the n-th `POST /rollout` (from 1) for a seed, given the right reply; None to behave."""


def status(code: int, detail: str = "scripted", *, times: int = 1_000) -> Fault:
    """Answer the first calls with this status."""
    return lambda n, _reply: JSONResponse({"detail": detail}, code) if n <= times else None


def changed(change: Callable[[dict[str, Any]], object], *, times: int = 1_000) -> Fault:
    """Answer the first calls with a changed reply; NaN is written as JSON never should be."""

    def fault(n: int, reply: dict[str, Any]) -> Response | None:
        if n > times:
            return None
        change(reply)
        return Response(json.dumps(reply), media_type="application/json")

    return fault


def reset(*, times: int = 1_000) -> Fault:
    """Break the connection off in the middle of the answer."""

    async def broken() -> AsyncIterator[bytes]:
        yield b"{"
        raise ConnectionResetError

    return lambda n, _reply: StreamingResponse(broken(), headers={"Content-Length": "1000"}) if n <= times else None


class ScriptedTaskApp:
    api_key = SecretStr("task-app-key-0123456789")
    instances = 4

    def __init__(self) -> None:
        self.faults: dict[int, Fault] = {}
        self.rewards: dict[int, Any] = {}
        self.held: set[int] = set()
        """Wire seeds whose rollouts run until they are released."""
        self.asynchronous = True
        self.asked: Counter[int] = Counter()
        self.info_answer: tuple[int, Any] = (200, {"benchmark": {"name": "scripted"}, "versions": {"rust": "1.0"}})
        self.cancelled: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.most_running = 0
        self.url = ""
        self.server: uvicorn.Server
        self._running: set[int] = set()
        self._arrived: dict[int, threading.Event] = defaultdict(threading.Event)
        self._released = threading.Event()

    def release(self) -> None:
        self._released.set()

    def die(self) -> None:
        """Stop listening, and drop what is connected."""
        self.server.force_exit = self.server.should_exit = True

    async def is_asked_for(self, seed: int) -> None:
        """Wait until somebody waits for this seed's rollout."""
        assert await asyncio.to_thread(self._arrived[seed].wait, 10)

    def reply(self, correlation_id: str, seed: int) -> dict[str, Any]:
        details = {
            "benchmark": "scripted",
            "instance": f"instance-{seed % self.instances}",
            "seed": seed % self.instances,
            "attempt": seed // self.instances,
            "agent": "gold",
            "model": None,
            "tests_passed": 3,
            "tests_total": 3,
            "failure": None,
            "phases": {"agent": 0.5},
            "tokens": 10,
            "cost_usd": 0.25,
        }
        return {
            "trace_correlation_id": correlation_id,
            "reward_info": {"outcome_reward": self.rewards.get(seed, 1.0), "details": details},
            "artifact": [{"name": "final.rs", "content": f"fn seed_{seed}() {{}}"}],
            "trace": None,
            "success_status": "success",
            "status_detail": None,
        }

    def app(self) -> FastAPI:
        app = FastAPI()
        seeds: dict[str, int] = {}

        @app.post("/rollout")
        async def rollout(request: Request) -> Response:
            body = await request.json()
            correlation_id, seed = body["trace_correlation_id"], body["env"]["seed"]
            self.headers.append(dict(request.headers))
            self.bodies.append(body)
            self.asked[seed] += 1
            seeds[correlation_id] = seed
            if (key := request.headers.get("x-api-key")) != self.api_key.get_secret_value():
                return JSONResponse({"detail": f"wrong key {key}"}, 401)
            reply = self.reply(correlation_id, seed)
            if seed in self.faults and (answer := self.faults[seed](self.asked[seed], reply)):
                return answer
            self._running.add(seed)
            self.most_running = max(self.most_running, len(self._running))
            if not self.asynchronous:
                return JSONResponse(reply)
            pending = {"trace_correlation_id": correlation_id, "status": "queued"}
            return JSONResponse(pending, 202, {"Location": f"http://elsewhere.invalid/rollouts/{correlation_id}"})

        @app.get("/info")
        async def info() -> Response:
            code, body = self.info_answer
            return JSONResponse(body, code)

        @app.get("/rollouts/{correlation_id}")
        async def poll(correlation_id: str, wait: float = 0) -> Response:
            seed = seeds[correlation_id]
            self._arrived[seed].set()
            if seed in self.held and not await asyncio.to_thread(self._released.wait, wait):
                return JSONResponse({"trace_correlation_id": correlation_id, "status": "running"}, 202)
            self._running.discard(seed)
            return JSONResponse(self.reply(correlation_id, seed))

        @app.delete("/rollouts/{correlation_id}")
        async def cancel(correlation_id: str) -> None:
            self._running.discard(seeds[correlation_id])
            self.cancelled.append(correlation_id)

        return app


class ScriptedEvalService:
    """A hosted eval service: it answers what the test lays out, and knows none of our details."""

    api_key = SecretStr("hosted-service-key-0123456789")

    def __init__(self) -> None:
        self.url = ""
        self.server: uvicorn.Server
        self.submitted: list[dict[str, Any]] = []
        self.submit_answer: tuple[int, Any] = (201, {"job_id": "eval-hosted"})
        self.status_answers: list[tuple[int, Any]] = [(200, {"status": "completed"})]
        """The last one is repeated."""
        self.results: Any = []
        self.traces = b""
        self.cancellations = 0

    def release(self) -> None:
        pass

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.post("/api/eval/jobs")
        async def submit(request: Request) -> Response:
            self.submitted.append(await request.json())
            code, body = self.submit_answer
            return JSONResponse(body, code)

        @app.get("/api/eval/jobs/eval-hosted")
        async def job_status() -> Response:
            code, body = self.status_answers.pop(0) if len(self.status_answers) > 1 else self.status_answers[0]
            return JSONResponse(body, code)

        @app.get("/api/eval/jobs/eval-hosted/results")
        async def results() -> Any:
            return {"status": "completed", "results": self.results}

        @app.get("/api/eval/jobs/eval-hosted/traces")
        async def traces() -> Response:
            return Response(self.traces, media_type="application/zip")

        @app.post("/api/eval/jobs/eval-hosted/cancel")
        async def cancel() -> dict[str, str]:
            self.cancellations += 1
            return {"status": "succeeded"}

        return app
