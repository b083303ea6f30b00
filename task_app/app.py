"""The HTTP face of the task app: its routes, and who may call them."""

import contextlib
import hmac
from collections.abc import AsyncIterator, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse

from task_app.agents import AGENTS, Agent
from task_app.contracts import Health, PendingRollout, RolloutResponse
from task_app.errors import InfrastructureFailure, InvalidRequest
from task_app.requests import asks_for_async, handle_errors, rollout_request
from task_app.rollouts import Rollout
from task_app.service import Service
from task_app.settings import Settings

LONGEST_WAIT = 30.0
"""Seconds that a poll may wait for a rollout's end: well under the 100 s at which proxies cut a request."""

MOST_SEEDS = 1000


def create_app(settings: Settings, agents: Mapping[str, Agent] = AGENTS) -> FastAPI:
    """The application for one benchmark and these agents by name; it gets ready once it is being served.

    Raises:
        BenchmarkError: the benchmark can't be read.
    """
    service = Service(settings, agents)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await service.start()
        try:
            yield
        finally:
            await service.stop()

    app = FastAPI(title="engine-bench task app", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.service = service
    handle_errors(app)
    app.include_router(open_routes)
    app.include_router(routes)
    return app


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


TheService = Annotated[Service, Depends(_service)]


def _require_key(service: TheService, x_api_key: Annotated[str | None, Header()] = None) -> None:
    expected = service.settings.api_key.get_secret_value()
    if x_api_key is None or not hmac.compare_digest(x_api_key.encode(), expected.encode()):
        raise HTTPException(401, "Send the task app's key as X-API-Key; this request had none or a wrong one.")


open_routes = APIRouter()
routes = APIRouter(dependencies=[Depends(_require_key)])


@open_routes.get("/")
async def root(service: TheService) -> dict[str, str]:
    """Says who is there."""
    return {"service": "engine-bench task app", "benchmark": service.benchmark.name, "status": service.warmup.status}


@open_routes.get("/health")
async def health(service: TheService) -> Health:
    """Always 200, since the server answers; whether it can work stands in the body."""
    return Health(status=service.warmup.status, nonce=service.settings.nonce, detail=service.warmup.detail)


@routes.get("/info")
async def info(service: TheService) -> dict[str, Any]:
    """What this task app holds and works with."""
    return service.info()


@routes.get("/task_info")
async def task_info(
    service: TheService,
    seed: Annotated[tuple[int, ...], Query()] = (),
    split: str | None = None,
) -> Any:
    """One seed: that instance. Several: a list of them. None: the set that seeds count through."""
    if len(seed) > MOST_SEEDS or any(one < 0 for one in seed):
        raise InvalidRequest(f"Seeds are 0 or more, and at most {MOST_SEEDS} in one request.")
    if not seed:
        return service.describe_split(split)
    described = [service.describe_instance(one, split) for one in seed]
    return described if len(described) > 1 else described[0]


@routes.post("/rollout")
async def start_rollout(request: Request, service: TheService) -> Response:
    """A rollout's response once it has ended; with `Prefer: respond-async` a 202 at once and where to ask for it.

    A rollout goes on when its client goes away: asking again with the same body returns it.
    """
    rollout = service.rollouts.submit(await rollout_request(request))
    if asks_for_async(request):
        return _state(rollout)
    response = await rollout.ended()
    if response.success_status != "success":
        # The protocol knows no 200 without a reward, and a 503 is what makes its callers try again.
        raise InfrastructureFailure(response.status_detail or f"The rollout has no score: {response.success_status}.")
    return _json(response)


@routes.get("/rollouts/{id}")
async def get_rollout(id: str, service: TheService, wait: Annotated[float, Query(ge=0)] = 0) -> Response:
    """202 while it is under way, 200 once it has ended; waits for the end up to `wait` seconds (at most 30)."""
    rollout = service.rollouts.get(id)
    if wait:
        await rollout.ended_within(min(wait, LONGEST_WAIT))
    return _state(rollout)


@routes.delete("/rollouts/{id}")
async def cancel_rollout(id: str, service: TheService) -> RolloutResponse:
    """Ends a rollout and answers once its processes are gone; one that has ended stays as it is."""
    return await service.rollouts.cancel(id)


@routes.post("/done")
async def done() -> dict[str, bool]:
    """The protocol's goodbye. Rollouts end by themselves, so there is nothing to do."""
    return {"ok": True}


def _state(rollout: Rollout) -> Response:
    if rollout.response is not None:
        return _json(rollout.response)
    pending = PendingRollout(trace_correlation_id=rollout.id, status=rollout.pending_status)
    return JSONResponse(pending.model_dump(), 202, {"Location": f"/rollouts/{rollout.id}"})


def _json(response: RolloutResponse) -> Response:
    return Response(response.model_dump_json(), media_type="application/json")
