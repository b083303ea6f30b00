"""The seven steps under faults: what is retried, what fails at once, and that cleanup always runs."""

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

import sandboxes
from core.errors import ConfigurationError, InfrastructureError
from core.settings import Settings
from flows import steps
from flows.engine_bench import RunIncomplete, engine_bench
from flows.result import ResultDocument
from flows.steps import cleanup, evaluate, health, install, provision, start, upload
from sandboxes.base import Endpoint, Sandbox, SandboxNotFound, SandboxSpec
from sandboxes.bundle import Bundle
from sandboxes.local import LocalBackend

VERBS = ["provision", "upload", "install", "start", "health", "endpoint", "cleanup"]
TASKS = {task.name: task for task in (provision, upload, install, start, health, evaluate, cleanup)}
STEP_OF = {verb: verb for verb in VERBS} | {"endpoint": "eval"}


class Faulty(LocalBackend):
    """The local backend, whose verbs fail as told before they do their work."""

    def __init__(self, settings: Settings, faults: dict[str, list[Exception]]) -> None:
        super().__init__(settings)
        self.faults = faults
        self.calls: list[str] = []

    def _maybe_fail(self, verb: str) -> None:
        self.calls.append(verb)
        if self.faults.get(verb):
            raise self.faults[verb].pop(0)

    async def provision(self, spec: SandboxSpec) -> Sandbox:
        self._maybe_fail("provision")
        return await super().provision(spec)

    async def upload(self, sandbox: Sandbox, bundle: Bundle) -> None:
        self._maybe_fail("upload")
        await super().upload(sandbox, bundle)

    async def install(self, sandbox: Sandbox, tools: tuple[str, ...]) -> None:
        self._maybe_fail("install")
        await super().install(sandbox, tools)

    async def start(self, sandbox: Sandbox, environment: Mapping[str, SecretStr]) -> Sandbox:
        self._maybe_fail("start")
        return await super().start(sandbox, environment)

    async def health(self, sandbox: Sandbox, nonce: str, timeout: float) -> None:
        self._maybe_fail("health")
        await super().health(sandbox, nonce, timeout)

    async def endpoint(self, sandbox: Sandbox, public_for: int | None = None) -> Endpoint:
        self._maybe_fail("endpoint")
        return await super().endpoint(sandbox, public_for)

    async def cleanup(self, spec: SandboxSpec) -> None:
        self._maybe_fail("cleanup")
        await super().cleanup(spec)


Run = Callable[..., Any]


@pytest.fixture
async def faulty(
    in_process: None, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[dict[str, list[Exception]]], Faulty]]:
    """Make the flow use a faulty backend, and its retries follow at once."""
    settings = Settings(data_dir=home / "data", cache_dir=tmp_path / "cache", results_dir=tmp_path / "results")
    monkeypatch.setenv("ENGINE_BENCH_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("ENGINE_BENCH_CACHE_DIR", str(settings.cache_dir))
    monkeypatch.setenv("ENGINE_BENCH_RESULTS_DIR", str(settings.results_dir))
    for task in TASKS.values():
        monkeypatch.setattr(task, "retry_delay_seconds", [0] * 5)

    def use(faults: dict[str, list[Exception]]) -> Faulty:
        backend = Faulty(settings, faults)
        monkeypatch.setitem(sandboxes.BACKENDS, "local", lambda _: backend)  # type: ignore[arg-type]
        return backend

    yield use
    for record in await LocalBackend(settings).list():
        await LocalBackend(settings).cleanup(record.spec)


async def run() -> ResultDocument:
    try:
        return await engine_bench(benchmark="hello-world", agent="gold")
    except RunIncomplete as incomplete:
        return incomplete.result


@pytest.mark.parametrize("verb", VERBS)
async def test_an_infrastructure_failure_is_retried(faulty: Callable[..., Faulty], verb: str) -> None:
    backend = faulty({verb: [InfrastructureError("the network was away")]})
    result = await run()
    assert (result.status, result.mean_reward, result.warnings) == ("completed", 1.0, [])
    assert backend.calls.count(verb) == 2


@pytest.mark.parametrize("verb", VERBS[:-1])
async def test_a_wrong_configuration_fails_at_once_and_is_cleaned_up(faulty: Callable[..., Faulty], verb: str) -> None:
    backend = faulty({verb: [ConfigurationError("that can't be"), ConfigurationError("second")]})
    result = await run()
    assert (result.status, result.mean_reward) == ("failed", None)
    assert result.error
    assert result.error.message == "that can't be"
    assert result.rollouts[0].error
    assert result.rollouts[0].error.message == "that can't be"
    assert backend.calls.count(verb) == 1
    assert backend.calls[-1] == "cleanup"


@pytest.mark.parametrize("verb", VERBS[:-1])
async def test_retries_end(faulty: Callable[..., Faulty], verb: str) -> None:
    task = TASKS[STEP_OF[verb]]
    backend = faulty({verb: [InfrastructureError("gone")] * 20})
    assert (await run()).status == "failed"
    # a sandbox that is lost once it was healthy is replaced, as often as the run has one to spare
    sandboxes_used = 3 if verb == "endpoint" else 1
    assert backend.calls.count(verb) == sandboxes_used * (1 + task.retries)
    assert backend.calls[-1] == "cleanup"


@pytest.mark.parametrize("verb", ["upload", "install", "start", "health", "endpoint"])
async def test_a_sandbox_that_is_gone_is_replaced_at_once(faulty: Callable[..., Faulty], verb: str) -> None:
    backend = faulty({verb: [SandboxNotFound("gone", backend="local")]})
    assert (await run()).status == "completed"
    assert [called for called in backend.calls if called in ("provision", verb, "cleanup")] == [
        "provision",
        verb,
        "cleanup",
        "provision",
        verb,
        "cleanup",
    ]


async def test_a_bug_is_not_retried(faulty: Callable[..., Faulty]) -> None:
    backend = faulty({"upload": [KeyError("oops")] * 5})
    result = await run()
    assert result.error
    assert result.error.kind == "KeyError"
    assert backend.calls.count("upload") == 1


async def test_a_failing_cleanup_is_reported_and_changes_no_score(faulty: Callable[..., Faulty]) -> None:
    faulty({"cleanup": [InfrastructureError("delete denied")] * 20})
    result = await run()
    assert (result.status, result.mean_reward) == ("completed", 1.0)
    assert "may be left behind" in result.warnings[0]
    assert "delete denied" in result.warnings[0]


async def test_a_failing_cleanup_does_not_hide_the_first_error(faulty: Callable[..., Faulty]) -> None:
    faulty(
        {"upload": [ConfigurationError("first")], "cleanup": [InfrastructureError("delete denied")] * 20},
    )
    result = await run()
    assert result.error
    assert result.error.message == "first"
    assert "delete denied" in result.warnings[0]


def test_every_step_has_a_policy() -> None:
    for task in TASKS.values():
        assert task.retries > 0
        assert task.retry_jitter_factor
        assert task.retry_condition_fn is steps.worth_a_retry
        assert task.persist_result is False
