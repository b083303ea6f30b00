"""The HTTP face of the embedded eval service: Synth's eval protocol (see `protocol.py`)."""

import asyncio
import hmac
import tempfile
import zipfile
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, FastAPI, Header, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse

from core.errors import ConfigurationError, InfrastructureError
from evals.jobs import Job
from evals.protocol import JobRequest, result_of
from evals.service import EvalService
from evals.store import Store

CHUNK = 256 * 1024


def create_app(service: EvalService) -> FastAPI:
    """The app that serves `service`; every route but `/health` wants its key."""

    def authorize(authorization: Annotated[str, Header()] = "") -> None:
        expected = f"Bearer {service.api_key.get_secret_value()}"
        if not hmac.compare_digest(authorization.encode(), expected.encode()):
            raise HTTPException(401, "The API key is not this eval service's.")

    async def known_job(job_id: str) -> Job:
        job = await service.find(job_id)
        if job is None:
            raise HTTPException(404, f"There is no eval job {job_id}.")
        return job

    KnownJob = Annotated[Job, Depends(known_job)]
    jobs = APIRouter(prefix="/api/eval/jobs", dependencies=[Depends(authorize)])

    @jobs.post("", status_code=201)
    async def submit(request: JobRequest) -> dict[str, Any]:
        job = await service.submit(request)
        return {"job_id": job.id, "status": job.status}

    @jobs.get("/{job_id}")
    async def status(job: KnownJob) -> dict[str, Any]:
        return _status_of(job)

    @jobs.get("/{job_id}/results")
    async def results(job: KnownJob) -> dict[str, Any]:
        return _results_of(job)

    @jobs.get("/{job_id}/traces")
    async def traces(job: KnownJob) -> StreamingResponse:
        return StreamingResponse(_traces_of(job, service.store), media_type="application/zip")

    @jobs.post("/{job_id}/cancel")
    async def cancel(job: KnownJob, reason: Annotated[str, Body(embed=True)] = "cancelled") -> dict[str, Any]:
        await service.cancel(job, reason)
        return {"job_id": job.id, "status": "succeeded", "message": f"The job has ended: {job.status}."}

    app = FastAPI(title="engine-bench eval service", openapi_url=None)
    app.include_router(jobs)
    app.add_api_route("/health", lambda: {"status": "ok"})
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ConfigurationError, _conflict)
    app.add_exception_handler(InfrastructureError, _unavailable)
    return app


def _status_of(job: Job) -> dict[str, Any]:
    return {
        "job_id": job.id,
        "status": job.status,
        "error": job.error,
        "created_at": job.created_at.isoformat(),
        "completed_at": job.finished_at.isoformat() if job.finished_at else None,
        "config": job.request.without_keys(),
        "results": job.progress.model_dump(),
    }


def _results_of(job: Job) -> dict[str, Any]:
    rows = [job.rows[seed] for seed in job.request.seeds if seed in job.rows]
    scored = [row for row in rows if not row.infrastructure_failure]
    return {
        "job_id": job.id,
        "status": job.status,
        "error": job.error,
        "summary": {
            "mean_reward": job.progress.mean_reward,
            "total_tokens": sum(row.tokens or 0 for row in rows),
            "total_cost_usd": sum(row.cost_usd or 0.0 for row in rows),
            "num_seeds": len(job.request.seeds),
            "num_successful": len(scored),
            "num_failed": len(rows) - len(scored),
        },
        "results": [result_of(row) for row in rows],
    }


async def _traces_of(job: Job, store: Store) -> AsyncIterator[bytes]:
    """A zip with one folder for each rollout: its row and what it left behind."""
    with tempfile.TemporaryFile() as file:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for row in list(job.rows.values()):
                files = {artifact.name: artifact.content for artifact in await store.artifacts(row.correlation_id)}
                files["row.json"] = row.model_dump_json(indent=2)
                for name, content in files.items():
                    await asyncio.to_thread(archive.writestr, f"{row.correlation_id}/{name}", content)
        file.seek(0)
        while chunk := file.read(CHUNK):
            yield chunk


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    """What is wrong with a request, without quoting it: it holds a key."""
    assert isinstance(error, RequestValidationError)
    detail = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()]
    return JSONResponse({"detail": "; ".join(detail)}, 422)


async def _conflict(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 409)


async def _unavailable(_request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, 503)
