"""Sandboxes that cost this machine next to nothing, as a cloud's do: for measuring what drives them.

Nothing runs in one. It answers engine-bench's own verbs as a sandbox from a snapshot does in which all is well, and
stands in for a task app that holds hello-world, and whose only agent is `command` with `sleep SECONDS`.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import time
from dataclasses import dataclass, field

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from task_app.app import LONGEST_WAIT
from task_app.contracts import Health, PendingRollout, RewardInfo, RolloutDetails, RolloutRequest, RolloutResponse

from .daemons import Daemon

_NONCE = re.compile(rb"^ENGINE_BENCH_NONCE=(.+)$", re.MULTILINE)
_ANSWERS = {"holds": "yes", "installed": "yes", "status": "running", "watch": "running"}
"""Of the verbs; those that are not here have nothing to say."""


_BENCHMARK = "hello-world"


@dataclass
class _Rollout:
    request: RolloutRequest
    begun: float = field(default_factory=time.monotonic)

    def left(self) -> float:
        """Seconds."""
        return self.begun + float(str(self.request.policy.config.agent_command).split()[1]) - time.monotonic()

    def response(self) -> Response:
        id, config = self.request.trace_correlation_id, self.request.policy.config
        if self.left() > 0:
            pending = PendingRollout(trace_correlation_id=id, status="running")
            return JSONResponse(pending.model_dump(), 202, {"Location": f"/rollouts/{id}"})
        details = RolloutDetails(
            benchmark=_BENCHMARK, instance=_BENCHMARK, seed=0, attempt=self.request.env.seed, agent=config.agent
        )
        reward = RewardInfo(outcome_reward=1.0, details=details)
        ended = RolloutResponse(trace_correlation_id=id, reward_info=reward, success_status="success")
        return Response(ended.model_dump_json(), media_type="application/json")


class HollowDaemon(Daemon):
    """In place of a daemon's process, an application in this one."""

    def __init__(self) -> None:
        self._nonce = ""
        self._rollouts: dict[str, _Rollout] = {}
        session = "/process/session"
        app = Starlette(
            routes=[
                Route("/files/bulk-upload", self._upload, methods=["POST"]),
                Route("/process/execute", self._execute, methods=["POST"]),
                Route(session, self._open_session, methods=["POST"]),
                Route(f"{session}/{{session}}/exec", self._start, methods=["POST"]),
                Route("/proxy/{port:int}/health", self._health),
                Route("/proxy/{port:int}/info", self._info),
                Route("/proxy/{port:int}/rollout", self._submit, methods=["POST"]),
                Route("/proxy/{port:int}/rollouts/{id}", self._ask),
            ]
        )
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://toolbox", timeout=None)

    async def stop(self) -> None:
        await self.client.aclose()

    async def _upload(self, request: Request) -> Response:
        if nonce := _NONCE.search(await request.body()):
            self._nonce = nonce[1].decode().strip()
        return JSONResponse({"files": []})

    async def _execute(self, request: Request) -> Response:
        _python, _inside, verb, *arguments = shlex.split((await request.json())["command"])
        if verb == "watch":
            await asyncio.sleep(float(arguments[0]))
        return JSONResponse({"exitCode": 0, "result": _ANSWERS.get(verb, "")})

    async def _open_session(self, _request: Request) -> Response:
        return Response(status_code=201)

    async def _start(self, _request: Request) -> Response:
        return JSONResponse({"cmdId": "start", "exitCode": 0, "output": "started", "stdout": "", "stderr": ""})

    async def _health(self, _request: Request) -> Response:
        return JSONResponse(Health(status="ok", nonce=self._nonce).model_dump())

    async def _info(self, _request: Request) -> Response:
        return JSONResponse({"benchmark": {"name": _BENCHMARK}, "versions": {}})

    async def _submit(self, request: Request) -> Response:
        asked = RolloutRequest.model_validate(json.loads(await request.body()))
        return self._rollouts.setdefault(asked.trace_correlation_id, _Rollout(asked)).response()

    async def _ask(self, request: Request) -> Response:
        rollout = self._rollouts[request.path_params["id"]]
        await asyncio.sleep(max(0.0, min(rollout.left(), float(request.query_params.get("wait", 0)), LONGEST_WAIT)))
        return rollout.response()
