import json
from pathlib import Path
from typing import Any

import pytest

from task_app.agents.base import AgentOutcome
from task_app.agents.overrides import FILE_SIZE, FILES, Overrides
from task_app.contracts import ContextOverride, OverridePart
from tests.agents import stub
from tests.agents.stub import DONE, TURN
from tests.agents.workshop import context, policy, task
from tests.task_app.serving import rollout, serving, settings


def written(tmp_path: Path, **files: str) -> dict[str, OverridePart]:
    overrides = Overrides([ContextOverride(file_artifacts=files)])
    overrides.write_files(task(tmp_path))
    return overrides.results[0].file_artifacts


def test_files_are_written_into_the_workspace(tmp_path: Path) -> None:
    parts = written(tmp_path, **{"AGENTS.md": "be brief", "notes/a.txt": "é"})
    assert (tmp_path / "workspace" / "AGENTS.md").read_text() == "be brief"
    assert {name: (part.status, part.bytes_written) for name, part in parts.items()} == {
        "AGENTS.md": ("applied", 8),
        "notes/a.txt": ("applied", 2),
    }


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("../outside", "x", "path_traversal"),
        ("/etc/outside", "x", "path_traversal"),
        ("link/outside", "x", "path_traversal"),
        ("", "x", "path_traversal"),
        ("hello.txt", "the solution", "permission"),
        ("big", "x" * (FILE_SIZE + 1), "size_limit"),
        ("AGENTS.md/x", "x", None),
    ],
)
def test_what_is_no_file_of_the_workspace_is_refused(tmp_path: Path, name: str, content: str, why: str | None) -> None:
    work = task(tmp_path)
    (work.workspace / "link").symlink_to(tmp_path)
    overrides = Overrides([ContextOverride(file_artifacts={name: content})])
    overrides.write_files(work)
    part = overrides.results[0].file_artifacts[name]
    assert (part.status, part.error_type) == (("failed", why) if why else ("applied", None))
    assert not (tmp_path / "outside").exists()


def test_one_file_too_many_is_refused_alone(tmp_path: Path) -> None:
    parts = written(tmp_path, **{f"{number:02}": "x" for number in range(FILES + 1)})
    assert [part.status for part in parts.values()] == ["applied"] * FILES + ["failed"]


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("STRATEGY", "tests first", None),
        ("1X", "x", "validation"),
        ("X", "a\0b", "validation"),
        ("LONG", "x" * 20_000, "size_limit"),
        ("PATH", "/mine", "permission"),
        ("LD_PRELOAD", "/mine.so", "permission"),
        ("OPENAI_BASE_URL", "http://elsewhere", "permission"),
        ("CODEX_HOME", "/mine", "permission"),
    ],
)
def test_variables(name: str, value: str, why: str | None) -> None:
    overrides = Overrides([ContextOverride(env_vars={name: value})])
    assert overrides.environment(taken={"CODEX_HOME": "/ours"}) == ({} if why else {name: value})
    assert overrides.results[0].env_vars[name].error_type == why


async def run(folder: Path, *lines: str, **override: Any) -> tuple[Overrides, str]:
    """A rollout of the stub with this override: what became of it, and the agent's log."""
    overrides, outcome = await work(folder, *lines, **override)
    return overrides, outcome.log


async def work(folder: Path, *lines: str, **override: Any) -> tuple[Overrides, AgentOutcome]:
    given = await context(folder, "one", stub.environment(folder, *lines, TURN, DONE))
    overrides = Overrides([ContextOverride.model_validate(override)])
    outcome = await stub.agent().run(
        task(folder), policy("stub", "http://127.0.0.1:1"), type(given)(**{**vars(given), "overrides": overrides})
    )
    return overrides, outcome


async def test_an_agent_works_with_all_of_it(tmp_path: Path) -> None:
    overrides, log = await run(
        tmp_path,
        "echo strategy $STRATEGY; cat made.txt; cat ~/.stub/skills/tests/SKILL.md",
        file_artifacts={"skills/tests/SKILL.md": "how to test\n"},
        env_vars={"STRATEGY": "slow"},
        preflight_script="#!/bin/bash\necho made by $STRATEGY > made.txt; echo ready",
    )
    for part in ("strategy slow", "made by slow", "how to test"):
        assert part in log
    (result,) = overrides.results
    assert result.overall_status == "applied"
    assert result.preflight_script is not None
    assert result.preflight_script.stdout == "ready\n"


async def test_a_script_sees_neither_our_environment_nor_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANTED_SECRET", "do-not-look-at-me")
    overrides, _ = await run(tmp_path, preflight_script="#!/bin/bash\nenv; cat /proc/*/environ; ls /sys/class/net")
    part = overrides.results[0].preflight_script
    assert part is not None
    assert part.stdout is not None
    assert "HOME=" in part.stdout
    assert "do-not-look-at-me" not in part.stdout
    assert "STUB_KEY" not in part.stdout


@pytest.mark.parametrize(
    ("script", "why"), [("echo no shebang", "validation"), ("#!/bin/bash\necho no >&2; exit 3", "runtime")]
)
async def test_a_script_that_fails_is_told_and_the_agent_works_all_the_same(
    tmp_path: Path, script: str, why: str
) -> None:
    overrides, log = await run(tmp_path, "echo went on", preflight_script=script)
    part = overrides.results[0].preflight_script
    assert part is not None
    assert (part.status, part.error_type) == ("failed", why)
    assert "went on" in log


TOKEN = """correct "horse" 1\nbattery"""


async def test_what_prints_a_variables_value_prints_it_to_nobody(tmp_path: Path) -> None:
    """However it is quoted: as a shell prints it, and within JSON, as agents and we do."""
    overrides, outcome = await work(
        tmp_path,
        "env",
        """/usr/bin/python3 -c 'import json, os; print(json.dumps({"turn": os.environ["TOKEN"]}))'""",
        env_vars={"TOKEN": TOKEN, "MODE": "slow"},
        preflight_script="#!/bin/bash\nenv",
    )
    part = overrides.results[0].preflight_script
    assert part is not None
    assert part.stdout is not None
    for told in (outcome.log, part.stdout):
        assert "TOKEN=[redacted]" in told
        assert "MODE=slow" in told, "a plain word is no secret"
        assert "battery" not in told
    assert "battery" not in outcome.files["trajectory.json"]


async def test_a_value_leaves_no_half_where_a_long_text_is_cut(tmp_path: Path) -> None:
    write = "x" * (16 * 1024 - len("correct")) + "correct-horse-1" + "x" * 40_000
    (tmp_path / "turn").write_text(json.dumps({"turn": write}) + "\n")
    _, outcome = await work(
        tmp_path,
        "cat turn",
        file_artifacts={"turn": (tmp_path / "turn").read_text()},
        env_vars={"TOKEN": "correct-horse-1"},
    )
    trajectory = outcome.files["trajectory.json"]
    assert "characters left out" in trajectory
    assert "correct" not in trajectory


async def test_a_variables_value_is_in_no_part_of_a_response_but_the_code_itself(tmp_path: Path) -> None:
    body = rollout("one", "command")
    command = "echo $TOKEN > hello.txt; echo $TOKEN; echo $TOKEN >&2; exit 3"
    body["policy"]["config"] |= {
        "agent_command": command,
        "context_overrides": [{"env_vars": {"TOKEN": "correct-horse-1"}, "preflight_script": "#!/bin/bash\nenv"}],
    }
    async with serving(settings(tmp_path / "work")) as client:
        response = (await client.post("/rollout", json=body)).json()
    kept = {artifact["name"]: artifact.pop("content") for artifact in response["artifact"]}
    assert kept.pop("final.txt") == "correct-horse-1\n", "to be graded again as it is"
    assert {"diff.patch", "agent.log", "context.json"} <= kept.keys()
    assert "exit code 3" in response["status_detail"]
    assert "correct-horse-1" not in json.dumps([response, kept])


@pytest.mark.parametrize("carrier", ["the request", "the policy"])
async def test_what_was_applied_is_an_artifact_whichever_way_it_came(tmp_path: Path, carrier: str) -> None:
    overrides = [
        {"override_id": "o1", "file_artifacts": {"AGENTS.md": "be brief"}, "env_vars": {"A": "b", "PATH": "c"}}
    ]
    body = rollout("one", "command")
    body["policy"]["config"]["agent_command"] = "cat AGENTS.md > hello.txt; echo A is $A"
    (body if carrier == "the request" else body["policy"]["config"])["context_overrides"] = overrides
    async with serving(settings(tmp_path / "work")) as client:
        response = (await client.post("/rollout", json=body)).json()
    kept = {artifact["name"]: artifact["content"] for artifact in response["artifact"]}
    assert kept["final.txt"] == "be brief"
    assert kept["agent.log"] == "A is b\n"
    (told,) = json.loads(kept["context.json"])
    assert (told["override_id"], told["overall_status"]) == ("o1", "partial")
    assert {name: part["status"] for name, part in told["env_vars"].items()} == {"A": "applied", "PATH": "failed"}


async def test_the_response_tells_what_an_agent_could_not_use(tmp_path: Path) -> None:
    body = rollout("one", "gold") | {"context_overrides": [{"override_id": "o1", "env_vars": {"A": "b"}}]}
    async with serving(settings(tmp_path / "work")) as client:
        response = (await client.post("/rollout", json=body)).json()
    (result,) = response["override_application_results"]
    assert (result["override_id"], result["overall_status"]) == ("o1", "skipped")
