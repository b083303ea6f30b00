"""The eval service under test, with a store of its own and a scripted task app."""

import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from evals.models import EvalRequest, Policy
from evals.service import EvalService, serve
from evals.store import Store, open_store
from evals.task_app_client import Patience
from tests.evals.scripted import Make, ScriptedEvalService, ScriptedTaskApp

IMPATIENT = Patience(retries=2, backoff=0.01, unreachable=0.5, long_poll=0.2)


@contextmanager
def served(script: ScriptedTaskApp | ScriptedEvalService) -> Iterator[None]:
    """In a thread of its own, as the real ones do not share the flow's event loop either."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        script.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        config = uvicorn.Config(
            script.app(), lifespan="off", timeout_graceful_shutdown=1, log_config=None, log_level="critical"
        )
        script.server = uvicorn.Server(config)
        thread = threading.Thread(target=script.server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield
        script.release()
        script.server.force_exit = script.server.should_exit = True
        thread.join()


@pytest.fixture
def task_app() -> Iterator[ScriptedTaskApp]:
    script = ScriptedTaskApp()
    with served(script):
        yield script


@pytest.fixture
def hosted() -> Iterator[ScriptedEvalService]:
    script = ScriptedEvalService()
    with served(script):
        yield script


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
def make_request(task_app: ScriptedTaskApp) -> Make:
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
