"""Serves a task app over real HTTP within a test."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from pydantic import SecretStr

from task_app.__main__ import Server
from task_app.agents import AGENTS, Agent
from task_app.app import create_app
from task_app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
KEY, NONCE = "the-key", "the-nonce"


def settings(work: Path, benchmark: Path = ROOT / "benchmarks" / "hello-world", **more: Any) -> Settings:
    return Settings(api_key=SecretStr(KEY), nonce=NONCE, benchmark=benchmark, work=work, **more)


@contextlib.asynccontextmanager
async def running(
    settings: Settings, agents: Mapping[str, Agent] = AGENTS
) -> AsyncIterator[tuple[httpx.AsyncClient, "asyncio.Future[None]", Server]]:
    """A client, with the key, of a task app on a free port; its server, and what is done once that has ended."""
    app = create_app(settings, agents)
    listener = socket.create_server(("127.0.0.1", 0))
    host, port = listener.getsockname()
    server = Server(uvicorn.Config(app, access_log=False, log_config=None, lifespan="on"), app.state.service)
    stopped = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        async with httpx.AsyncClient(
            base_url=f"http://{host}:{port}", headers={"X-API-Key": KEY}, timeout=60, trust_env=False
        ) as client:
            yield client, stopped, server
    finally:
        server.should_exit = True
        await stopped


@contextlib.asynccontextmanager
async def serving(settings: Settings, agents: Mapping[str, Agent] = AGENTS) -> AsyncIterator[httpx.AsyncClient]:
    """A client, with the key, of a task app on a free port; both are gone at the end."""
    async with running(settings, agents) as (client, _, _):
        yield client


def rollout(id: str, agent: str = "gold", seed: int = 0, **config: Any) -> dict[str, Any]:
    """The body of a request for a rollout; `config` goes into the environment's."""
    return {
        "trace_correlation_id": id,
        "env": {"seed": seed, "config": config},
        "policy": {"config": {"agent": agent}},
    }


RESPOND_ASYNC = {"Prefer": "respond-async"}


async def ended(client: httpx.AsyncClient, id: str) -> dict[str, Any]:
    """The response of a rollout that will end by itself."""
    while True:
        reply = await client.get(f"/rollouts/{id}", params={"wait": 30})
        if reply.status_code != 202:
            assert reply.status_code == 200, reply.text
            body: dict[str, Any] = reply.json()
            return body
