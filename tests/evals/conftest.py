"""A scripted task app, served for real on loopback, and the eval service under test."""

import asyncio
import socket
import threading
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import SecretStr

from evals.models import EvalRequest, Policy
from evals.service import EvalService, serve
from evals.store import Store, open_store
from evals.task_app_client import Patience

IMPATIENT = Patience(retries=2, backoff=0.01, unreachable=0.5, long_poll=0.2)

Fault = Callable[[str, int], Response | None]
"""What to answer instead to the n-th `POST /rollout` (from 1) for a correlation id; None to behave."""


class ScriptedTaskApp:
    """Keeps the contract, but for the faults that a test scripts by wire seed."""

    api_key = SecretStr("task-app-key-0123456789")
    instances = 4

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.polled: Counter[str] = Counter()
        self.cancelled: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.faults: dict[int, Fault] = {}
        self.rewards: dict[int, Any] = {}
        self.held: set[int] = set()
        self.asynchronous = True
        self.running = 0
        self.most_running = 0
        self.arrived: dict[int, threading.Event] = defaultdict(threading.Event)
        self.released = threading.Event()
        self.url = ""
        self.server: uvicorn.Server | None = None

    def reply(self, correlation_id: str, seed: int) -> dict[str, Any]:
        return {
            "trace_correlation_id": correlation_id,
            "reward_info": {
                "outcome_reward": self.rewards.get(seed, 1.0),
                "details": {
                    "benchmark": "scripted",
                    "instance": f"instance-{seed % self.instances}",
                    "seed": seed % self.instances,
                    "attempt": seed // self.instances,
                    "agent": "gold",
                    "tests_passed": 3,
                    "tests_total": 3,
                    "phases": {"agent": 0.5},
                    "tokens": 10,
                    "cost_usd": 0.25,
                },
            },
            "artifact": [{"name": "final.rs", "content": f"fn seed_{seed}() {{}}"}],
            "success_status": "success",
        }

    def app(self) -> FastAPI:
        app, seeds = FastAPI(), {}

        def refused(request: Request) -> Response | None:
            self.headers.append(dict(request.headers))
            if request.headers.get("x-api-key") != self.api_key.get_secret_value():
                return JSONResponse({"detail": f"wrong key {request.headers.get('x-api-key')}"}, 401)
            return None

        @app.post("/rollout")
        async def rollout(request: Request) -> Response:
            body = await request.json()
            correlation_id, seed = body["trace_correlation_id"], body["env"]["seed"]
            if refusal := refused(request):
                return refusal
            self.asked[correlation_id] += 1
            seeds[correlation_id] = seed
            if seed in self.faults and (fault := self.faults[seed](correlation_id, self.asked[correlation_id])):
                return fault
            if not self.asynchronous:
                return JSONResponse(self.reply(correlation_id, seed))
            pending = {"trace_correlation_id": correlation_id, "status": "queued"}
            return JSONResponse(pending, 202, {"Location": f"/rollouts/{correlation_id}"})

        @app.get("/rollouts/{correlation_id}")
        async def poll(correlation_id: str, request: Request, wait: float = 0) -> Response:
            if refusal := refused(request):
                return refusal
            self.polled[correlation_id] += 1
            seed = seeds[correlation_id]
            self.running += 1
            self.most_running = max(self.most_running, self.running)
            self.arrived[seed].set()
            if seed in self.held:
                await asyncio.to_thread(self.released.wait, wait)
            await asyncio.sleep(0)
            self.running -= 1
            if seed in self.held and not self.released.is_set():
                return JSONResponse({"trace_correlation_id": correlation_id, "status": "running"}, 202)
            return JSONResponse(self.reply(correlation_id, seed))

        @app.delete("/rollouts/{correlation_id}")
        async def cancel(correlation_id: str) -> None:
            self.cancelled.append(correlation_id)

        return app

    def die(self) -> None:
        """Stop listening at once, dropping what is connected."""
        assert self.server is not None
        self.server.force_exit = self.server.should_exit = True

    async def has_asked_for(self, seed: int) -> None:
        """Wait until the service waits for this seed's rollout."""
        assert await asyncio.to_thread(self.arrived[seed].wait, 10)


@pytest.fixture
def task_app() -> Iterator[ScriptedTaskApp]:
    """In a thread of its own, as a task app does not share the flow's event loop either."""
    script = ScriptedTaskApp()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        script.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(script.app(), log_config=None, lifespan="off", timeout_graceful_shutdown=1)
        script.server = uvicorn.Server(config)
        thread = threading.Thread(target=script.server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield script
        script.released.set()
        script.server.should_exit = True
        thread.join()


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path / 'rollouts.db'}"


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    async with open_store(store_url) as store:
        yield store


@pytest.fixture
async def service(store: Store) -> AsyncIterator[EvalService]:
    async with serve(store, IMPATIENT) as service:
        yield service


@pytest.fixture
def make_request(task_app: ScriptedTaskApp) -> Callable[..., EvalRequest]:
    def make(**changes: Any) -> EvalRequest:
        defaults: dict[str, Any] = {
            "task_app_url": task_app.url,
            "task_app_api_key": task_app.api_key,
            "run_id": "run-1",
            "benchmark": "scripted",
            "seeds": [0, 1, 2],
            "policy": Policy(agent="gold", timeout=20),
            "max_concurrent": 2,
            "grading_allowance": 0,
        }
        return EvalRequest(**(defaults | changes))

    return make
