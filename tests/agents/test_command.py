import os
from pathlib import Path

import pytest

from task_app.agents.base import AgentOutcome
from task_app.agents.command import Command
from task_app.contracts import PolicyConfig
from task_app.errors import InfrastructureFailure
from task_app.grade import FailureKind
from tests.agents.scenarios import KEY
from tests.agents.workshop import PROMPT, context, task
from tests.scripted_model import Refuse, Say, Script, serving

ASK = """import json, os, urllib.request
tool = {"type": "function", "function": {"name": "bash", "parameters": {}}}
asked = {"model": os.environ["MODEL"], "messages": [{"role": "user", "content": "hello"}], "tools": [tool]}
body = json.dumps(asked).encode()
headers = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"], "Content-Type": "application/json"}
request = urllib.request.Request(os.environ["OPENAI_BASE_URL"] + "/chat/completions", body, headers)
print(json.load(urllib.request.urlopen(request))["choices"][0]["message"]["content"])
"""


async def run(folder: Path, command: str | None, url: str | None = None, timeout: float = 20) -> AgentOutcome:
    policy = PolicyConfig(agent="command", agent_command=command, model="m", timeout=timeout, inference_url=url)
    return await Command().run(task(folder), policy, await context(folder, "one"))


async def test_it_works_in_the_workspace_with_the_prompt_on_stdin(tmp_path: Path) -> None:
    outcome = await run(tmp_path, "cat > hello.txt && echo done")
    assert (tmp_path / "workspace" / "hello.txt").read_text() == PROMPT
    assert (outcome.failure, outcome.log) == (None, "done\n")


async def test_files_that_it_names_are_there(tmp_path: Path) -> None:
    script = tmp_path / "my agent.sh"
    script.write_text("#!/bin/sh\necho ran with $1\n")
    script.chmod(0o755)
    assert "ran with x" in (await run(tmp_path, f"'{script}' x")).log


async def test_it_needs_no_rust_that_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with rustup before it has a toolchain: its programs are there, and fail."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("cargo", "rustc"):
        (programs / name).write_text("#!/bin/sh\necho no default toolchain >&2; exit 1\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    assert (await run(tmp_path, "echo done")).log == "done\n"


async def test_it_reaches_the_model_without_holding_the_key(tmp_path: Path) -> None:
    script = tmp_path / "ask.py"
    script.write_text(ASK)
    async with serving() as model:
        model.add("one", Script([[Say("hello back")]], key=KEY))
        outcome = await run(tmp_path, f"env && /usr/bin/python3 {script}", f"{model.base_url}/s")
    assert outcome.failure is None
    assert "hello back" in outcome.log
    assert "[redacted]" not in outcome.log


async def test_a_refused_key_is_no_score(tmp_path: Path) -> None:
    script = tmp_path / "ask.py"
    script.write_text(ASK)
    async with serving() as model:
        model.add("one", Script([[Refuse(401)]]))
        with pytest.raises(InfrastructureFailure, match="key was refused: check INFERENCE_API_KEY"):
            await run(tmp_path, f"/usr/bin/python3 {script}", f"{model.base_url}/s")


async def test_an_exit_code_is_the_agents_own_failure(tmp_path: Path) -> None:
    outcome = await run(tmp_path, "echo no luck >&2; exit 4")
    assert outcome.failure is not None
    assert outcome.failure.kind is FailureKind.AGENT_FAILED
    assert "exit code 4" in outcome.failure.message


async def test_the_system_prompt_stands_before_the_prompt(tmp_path: Path) -> None:
    policy = PolicyConfig(agent="command", agent_command="cat > hello.txt", system_prompt="Be brief.")
    await Command().run(task(tmp_path), policy, await context(tmp_path, "one"))
    assert (tmp_path / "workspace" / "hello.txt").read_text() == f"Be brief.\n\n{PROMPT}"


async def test_its_turns_are_limited(tmp_path: Path) -> None:
    script = tmp_path / "ask.py"
    script.write_text(ASK)
    policy = PolicyConfig(
        agent="command", agent_command=f"for n in 1 2 3; do /usr/bin/python3 {script}; done", max_turns=2
    )
    async with serving() as model:
        model.add("one", Script([[Say("hello back")]]))
        policy = policy.model_copy(update={"inference_url": f"{model.base_url}/s"})
        outcome = await Command().run(task(tmp_path), policy, await context(tmp_path, "one"))
    assert outcome.failure is not None
    assert outcome.failure.kind is FailureKind.TURN_LIMIT
    assert len(model.asked["one"]) == 2


async def test_it_is_ended_when_its_time_is_up(tmp_path: Path) -> None:
    outcome = await run(tmp_path, "sleep 1000", timeout=1)
    assert outcome.failure is not None
    assert outcome.failure.kind is FailureKind.AGENT_TIMEOUT


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (None, "needs to know what to run"),
        ("echo 'unclosed", "can't be read"),
        ("no-such-program --flag", "It never got to work"),
    ],
)
async def test_a_command_that_can_not_run_is_no_score(tmp_path: Path, command: str | None, says: str) -> None:
    with pytest.raises(InfrastructureFailure, match=says):
        await run(tmp_path, command)
