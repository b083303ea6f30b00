"""How an agent's program is run, whatever it does: with a stub in the place of a real one."""

import asyncio
import json
import os
import re
import uuid
from pathlib import Path
from typing import Any

import psutil
import pytest

from task_app.agents.base import AgentContext, AgentOutcome
from task_app.agents.cli_agent import LINE_LIMIT, Events
from task_app.errors import InfrastructureFailure
from task_app.grade import FailureKind
from task_app.isolation import Isolation, Level
from tests.agents import stub
from tests.agents.stub import DONE, TURN
from tests.agents.workshop import PROMPT, context, policy, task

URL = "http://127.0.0.1:1"


async def run(folder: Path, *lines: str, timeout: float = 30, level: Level | None = None) -> AgentOutcome:
    given = await context(folder, "one", stub.environment(folder, *lines))
    if level is not None:
        given = AgentContext(given.correlation_id, given.home, given.environment, isolation=Isolation(level))
    return await stub.agent().run(task(folder), policy("stub", URL, timeout), given)


def left_running(mark: str) -> list[str]:
    return [
        " ".join(words)
        for process in psutil.process_iter(["cmdline"])
        if mark in " ".join(words := process.info["cmdline"] or [])
    ]


@pytest.fixture
def mark() -> str:
    """An argument of `sleep` that no other process has."""
    return f"{uuid.uuid4().int % 10**9 + 10**6}"


async def test_the_prompt_comes_on_stdin_and_then_its_end(tmp_path: Path) -> None:
    outcome = await run(tmp_path, "cat > hello.txt", TURN, DONE)
    assert (tmp_path / "workspace" / "hello.txt").read_text() == PROMPT
    assert (outcome.failure, outcome.turns, outcome.tokens) == (None, 1, 3)


async def test_the_trajectory_is_an_artifact(tmp_path: Path) -> None:
    outcome = await run(tmp_path, TURN, DONE)
    trajectory = json.loads(outcome.files["trajectory.json"])
    assert trajectory["format"] == "engine-bench-trajectory/1"
    assert [turn["text"] for turn in trajectory["turns"]] == ["at work"]


async def test_nothing_of_our_environment_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED_SECRET", "do-not-look-at-me")
    outcome = await run(tmp_path, "env", "cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'", TURN, DONE)
    names = {line.partition("=")[0] for line in outcome.log.splitlines() if "=" in line}
    assert "do-not-look-at-me" not in outcome.log
    assert "HOME" in names
    assert not {name for name in names if "SECRET" in name or name.endswith("API_KEY")}


async def test_the_key_never_gets_there(tmp_path: Path) -> None:
    given = await context(
        tmp_path, "one", stub.environment(tmp_path, "env > hello.txt", "cat ~/.stub/config", TURN, DONE)
    )
    outcome = await stub.agent().run(task(tmp_path), policy("stub", URL), given)
    key = given.environment["INFERENCE_API_KEY"].get_secret_value()
    assert key not in (tmp_path / "workspace" / "hello.txt").read_text()
    assert "model = scripted" in outcome.log


@pytest.mark.parametrize("level", [Level.NAMESPACE, Level.PROCESS])
async def test_a_program_that_ignores_sigterm_is_ended(tmp_path: Path, mark: str, level: Level) -> None:
    if level is Level.NAMESPACE and (await Isolation.detect(tmp_path)).level is not level:
        pytest.skip("this machine allows no namespaces")
    outcome = await run(tmp_path, "trap '' TERM", TURN, f"while :; do sleep {mark}; done", timeout=1, level=level)
    assert outcome.failure is not None
    assert outcome.failure.kind is FailureKind.AGENT_TIMEOUT
    assert left_running(mark) == []


async def test_children_in_sessions_of_their_own_are_gone(tmp_path: Path, mark: str) -> None:
    outcome = await run(tmp_path, f"setsid sleep {mark} > /dev/null 2>&1 &", f"setsid sleep {mark} &", TURN, DONE)
    assert outcome.failure is None
    assert left_running(mark) == []


async def test_nothing_is_left_when_it_is_cancelled(tmp_path: Path, mark: str) -> None:
    given = await context(tmp_path, "one", stub.environment(tmp_path, f"setsid sleep {mark} &", "echo > begun", "cat"))
    work = task(tmp_path)
    os.mkfifo(work.workspace / "begun")
    running = asyncio.create_task(stub.agent().run(work, policy("stub", URL), given))
    await asyncio.to_thread((work.workspace / "begun").read_text)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert left_running(mark) == []


async def test_endless_output_ends_it(tmp_path: Path) -> None:
    outcome = await run(tmp_path, TURN, "exec yes")
    assert outcome.failure is not None
    assert outcome.failure.kind is FailureKind.OUTPUT_FLOOD
    assert len(outcome.log) < 10 * 1024 * 1024


async def test_a_crash_in_the_middle_is_the_agents_own(tmp_path: Path) -> None:
    outcome = await run(tmp_path, TURN, "echo 'out of luck' >&2", "exit 7")
    assert outcome.failure is not None
    assert outcome.failure.kind is FailureKind.AGENT_FAILED
    assert "exit code 7" in outcome.failure.message
    assert "out of luck" in outcome.failure.message


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (("echo 'bad option' >&2", "exit 2"), "bad option. It never got to work"),
        ((TURN, "kill -9 $$"), "killed from outside"),
        ((TURN, "echo 'FATAL ERROR: JavaScript heap out of memory' >&2", "kill -ABRT $$"), "Lower the concurrency"),
        ((TURN,), "last answer never came"),
        ((DONE,), "last answer never came"),
    ],
    ids=["never got to work", "killed", "out of memory", "not finished", "no turn"],
)
async def test_what_is_not_the_agents_fault_has_no_score(tmp_path: Path, lines: tuple[str, ...], says: str) -> None:
    with pytest.raises(InfrastructureFailure, match=says):
        await run(tmp_path, *lines)


async def test_a_silent_agent_that_never_heard_of_its_model_has_no_score(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureFailure, match="had no answer from the model"):
        await run(tmp_path, "exec sleep 100", timeout=1)


async def test_a_missing_program_is_told_with_how_to_get_it(tmp_path: Path) -> None:
    given = await context(tmp_path, "one")
    with pytest.raises(InfrastructureFailure, match=re.escape("npm install --global stub-of-an-agent@1.0.0")):
        await stub.agent().run(task(tmp_path), policy("stub", URL), given)


def test_events_are_read_the_same_however_the_output_is_cut() -> None:
    output = b'said {"n": 1}\n{"n": 2}\nsaid\n\n  {"n": 3}\n{"n": 4'
    for size in range(1, len(output)):
        seen: list[dict[str, Any]] = []
        events = Events(seen.append)
        for start in range(0, len(output), size):
            events.take("stdout", output[start : start + size])
            events.take("stderr", b'{"n": 5}\n')
        assert seen == [{"n": 2}, {"n": 3}], size


def test_an_event_that_is_too_long_is_passed_over() -> None:
    seen: list[dict[str, Any]] = []
    events = Events(seen.append)
    for chunk in (b'{"text": "', *[b"x" * 65536] * (LINE_LIMIT // 65536), b'"}\n', b'{"n": 1}\n'):
        events.take("stdout", chunk)
    assert seen == [{"n": 1}]


async def test_lines_that_are_no_events_are_passed_over(tmp_path: Path) -> None:
    lines = (
        "echo not json",
        "echo '{broken'",
        "echo '[1]'",
        """echo '{"turn": {"not": "text"}, "x": 1}' """,
        TURN,
        DONE,
    )
    outcome = await run(tmp_path, *lines)
    assert outcome.failure is None


async def test_rollouts_at_once_share_nothing(tmp_path: Path) -> None:
    async def one(name: str) -> AgentOutcome:
        folder = tmp_path / name
        folder.mkdir()
        script = (f"echo {name} > ~/mine", "sleep 0.2", "cat ~/mine > hello.txt", "ls ~ /tmp >> hello.txt", TURN, DONE)
        return await run(folder, *script)

    names = [f"agent-{number}" for number in range(6)]
    await asyncio.gather(*(one(name) for name in names))
    for name in names:
        written = (tmp_path / name / "workspace" / "hello.txt").read_text()
        assert written.startswith(name)
        assert not [other for other in names if other != name and other in written]
