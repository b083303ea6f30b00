"""Inside the eval step: one eval job per lane, on the embedded eval service or on a hosted one."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext

import httpx
from prefect.logging import get_run_logger
from pydantic import SecretStr
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from core.errors import ConfigurationError, EngineBenchError, InfrastructureError
from core.settings import Settings
from core.tls import tls_context
from evals.client import EvalClient
from evals.models import MISSING, EvalRequest, Outcome, Policy, Progress, rollout_id
from evals.service import serve
from evals.store import Store
from evals.synth import EvalServiceUnavailable
from evals.task_app_client import BAD_GATEWAY
from flows.agent_needs import asked_provider
from flows.limits import Limit, rollouts_at
from flows.plan import Lane, Plan
from flows.report import Report
from sandboxes.base import Endpoint


class RolloutsUnscored(EngineBenchError):
    """Some rollouts have no score although the eval service has retried them. Asking again would only cost more."""


class SandboxUnfit(InfrastructureError):
    """The eval did not get through in this sandbox: asking again may help, and another sandbox where it does not."""


class SandboxLost(SandboxUnfit):
    """Nobody answers in the sandbox any more. Asking again is of no use, another sandbox is."""


class _KeyRefused(ConfigurationError):
    """The task app there does not know our key."""


UNREACHABLE = 15.0
"""Seconds that a task app which has just been healthy may not answer."""


@asynccontextmanager
async def open_evaluation(plan: Plan, settings: Settings, store: Store, report: Report) -> AsyncIterator["Evaluation"]:
    """The eval service of a run: the hosted one where it is configured, else one embedded in this process.

    Raises:
        ConfigurationError: a hosted one can't do what is asked.
    """
    hosted = settings.hosted_eval_service()
    if hosted and plan.parameters.rescore:
        raise ConfigurationError(
            "A hosted eval service can't grade again what this machine keeps. "
            "Unset SYNTH_BACKEND_URL to use the embedded one."
        )
    if hosted:
        yield Evaluation(plan, EvalClient(*hosted), store, report, shares_work=False)
        return
    provider = asked_provider(plan.parameters)
    turn = (await Limit.find(rollouts_at(provider))).slot if provider else nullcontext
    async with serve(store, turn=turn) as service:
        yield Evaluation(plan, service.client(), store, report, shares_work=True)


class Evaluation:
    """Runs the lanes' eval jobs. A lane that asks again attaches to its job, so that nothing is paid for twice."""

    def __init__(self, plan: Plan, client: EvalClient, store: Store, report: Report, *, shares_work: bool) -> None:
        self._plan = plan
        self._shares_work = shares_work
        self._client = client
        self._store = store
        self._report = report
        self._submitted: set[str] = set()

    async def run(self, lane: Lane, endpoint: Endpoint, api_key: SecretStr) -> None:
        """Evaluate the lane's seeds; every row is in the store when this returns.

        Raises:
            SandboxLost: the task app does not answer any more.
            SandboxUnfit: it does, but the eval service could not finish the job.
            EvalServiceUnavailable: nobody knows how the job stands, which goes on; another try attaches to it.
            RolloutsUnscored: some rollouts have no score after the eval service's own retries.
        """
        request = self._request(lane, endpoint, api_key)
        with self._known_there():
            self._report.note_versions(await _patient_versions(request))
        outcome = await self._attach(lane, request) or await self._submit(lane, request)
        unscored = await self._unscored(lane)
        if not unscored:
            return
        if outcome.status != "completed":
            with self._known_there():
                await _versions(request)  # it has been waited for already: once is enough to tell that it is lost
            raise SandboxUnfit(f"Eval job {outcome.job_id} {outcome.status}: {outcome.error or 'no reason given'}")
        told = [row for row in outcome.rows if row.seed in unscored]
        reasons = "; ".join(
            f"{self._plan.rollout_name(row.seed)}: {row.error.message if row.error else 'no reason given'}"
            for row in told[:3]
        )
        raise RolloutsUnscored(f"{len(unscored)} of {len(lane.seeds)} rollouts have no score. {reasons}")

    @contextmanager
    def _known_there(self) -> Iterator[None]:
        """A task app of ours knows our key: one that does not has taken the port of ours, which has died."""
        try:
            yield
        except _KeyRefused as refusal:
            if self._plan.parameters.task_app_url:
                raise
            raise SandboxLost(
                "Another task app has taken the address of the sandbox's own, which has died."
            ) from refusal

    def public_for(self, lane: Lane) -> int | None:
        """Seconds for which the task app must be reachable from elsewhere; None where the eval service is our own."""
        return None if self._shares_work else lane.spec.lifetime

    async def missing(self, lane: Lane) -> int:
        """How many of the lane's seeds have no score."""
        return len(await self._unscored(lane))

    async def _unscored(self, lane: Lane) -> list[int]:
        rows = await self._store.rows(self._plan.run_id, lane.seeds)
        scored = {row.seed for row in rows if row.reward is not None}
        return [seed for seed in lane.seeds if seed not in scored]

    async def _attach(self, lane: Lane, request: EvalRequest) -> Outcome | None:
        """The outcome of the job that an earlier try has submitted, None if it is of no use any more.

        Raises:
            EvalServiceUnavailable: the job may still run, so another one in its place would be paid for as well.
        """
        note = self._report.folder.job_note(lane.number)
        if not note.exists():
            return None
        job_id = note.read_text()
        if self._shares_work and job_id not in self._submitted:
            return None  # it ended with the process that ran it; its rows are in the store
        try:
            outcome = await self._client.run(request, job_id=job_id, on_progress=self._progress_of(lane))
        except EvalServiceUnavailable:
            raise
        except InfrastructureError as error:
            get_run_logger().warning(f"Can't attach to eval job {job_id}, submitting another one. {error}")
            note.unlink()
            return None
        note.unlink()
        await self._keep(outcome)
        return None if await self._unscored(lane) else outcome

    async def _submit(self, lane: Lane, request: EvalRequest) -> Outcome:
        async def note(job_id: str) -> None:
            path = self._report.folder.job_note(lane.number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(job_id)
            self._submitted.add(job_id)

        if not self._shares_work:  # the embedded eval service knows by itself what it need not ask for again
            request = request.model_copy(update={"seeds": await self._unscored(lane)})
        outcome = await self._client.run(request, on_submitted=note, on_progress=self._progress_of(lane))
        await self._keep(outcome)
        return outcome

    def _progress_of(self, lane: Lane) -> Callable[[Progress], Awaitable[None]]:
        async def show(progress: Progress) -> None:
            await self._report.progress(lane.number, progress)

        return show

    async def _keep(self, outcome: Outcome) -> None:
        """Write down what a hosted eval service told; the embedded one has done so itself, with more to each row.

        A row that it did not send says nothing, and must not take the place of one that says why there is no score.
        """
        if self._shares_work:
            return
        for row in outcome.rows:
            if row.error is None or row.error.kind != MISSING:
                # under our own id: with theirs, which may be another one for each job, a seed would have several rows
                own = row.model_copy(update={"correlation_id": rollout_id(self._plan.run_id, row.seed)})
                await self._store.put(self._plan.run_id, outcome.job_id, own)

    def _request(self, lane: Lane, endpoint: Endpoint, api_key: SecretStr) -> EvalRequest:
        parameters = self._plan.parameters
        return EvalRequest(
            task_app_url=endpoint.url,
            task_app_api_key=api_key,
            task_app_headers=endpoint.headers,
            run_id=self._plan.run_id,
            benchmark=parameters.benchmark,
            split=parameters.split or None,
            seeds=list(lane.seeds),
            others=self._plan.others(lane) if self._shares_work else [],
            rescore=parameters.rescore or None,
            policy=_policy(self._plan),
            max_concurrent=parameters.concurrency,
            grading_allowance=self._plan.grading_allowance,
        )


def _policy(plan: Plan) -> Policy:
    """Who works on the instances, by what was given: what was not stays as the task app has it."""
    parameters = plan.parameters
    names = ("agent_command", "inference_url", "internet", "max_turns", "system_prompt")
    given = {name: value for name in names if (value := getattr(parameters, name))}
    if plan.context is not None:
        given["context_overrides"] = [plan.context.model_dump(mode="json")]
    return Policy(agent=parameters.agent, model=parameters.model or None, timeout=parameters.timeout, **given)


async def _versions(request: EvalRequest) -> dict[str, str]:
    """The versions of the tools that the task app grades with.

    Raises:
        SandboxLost: nobody answers.
        SandboxUnfit: something is answered that says nothing of a task app.
        ConfigurationError: it is another task app than the one asked for, or does not know our key.
    """
    headers = {name: value.get_secret_value() for name, value in request.task_app_headers.items()}
    headers["X-API-Key"] = request.task_app_api_key.get_secret_value()
    said = f"The task app at {request.task_app_url}"
    try:
        async with httpx.AsyncClient(timeout=30, verify=tls_context()) as http:
            answer = await http.get(f"{request.task_app_url}/info", headers=headers)
    except httpx.TransportError as error:
        raise SandboxLost(f"{said} does not answer any more ({type(error).__name__}).") from None
    if answer.status_code == BAD_GATEWAY:
        raise SandboxLost(f"{said} is not there any more, says the proxy in front of it.")
    if answer.status_code == 404:
        # as a proxy says, too, of a sandbox that it has lost
        raise SandboxLost(f"{said} is none: something else answers there, and knows nothing of /info.")
    if answer.status_code == 401:
        raise _KeyRefused(f"{said} refuses the key. Set ENVIRONMENT_API_KEY.")
    try:
        info = answer.raise_for_status().json()
        benchmark, versions = info["benchmark"]["name"], info["versions"]
    except (httpx.HTTPStatusError, KeyError, TypeError, ValueError) as error:
        raise SandboxUnfit(f"{said} does not tell what it is ({type(error).__name__}).") from None
    if benchmark != request.benchmark:
        raise ConfigurationError(f"{said} holds the benchmark {benchmark!r}, not {request.benchmark!r}.")
    return {str(name): str(value) for name, value in versions.items()}


async def _patient_versions(request: EvalRequest) -> dict[str, str]:
    """Ask a sandbox that should be there, also if it, or a proxy on the way, needs a moment."""
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(SandboxUnfit),
        stop=stop_after_delay(UNREACHABLE),
        wait=wait_random_exponential(multiplier=0.1, max=2),
        reraise=True,
    )
    return await retrying(_versions, request)
