"""What an agent may leave in place of its file: nothing of it breaks the grading or reads outside the workspace."""

import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from task_app.agents import AgentContext, AgentOutcome
from task_app.agents.overrides import Overrides
from task_app.artifacts import LIMIT, artifacts
from task_app.benchmarks import Task
from task_app.collect import SIZE_LIMIT, UnusableSource, collect
from task_app.grade import Grade
from tests.task_app.scripted import Scripted
from tests.task_app.serving import rollout, serving, settings

FILE = PurePosixPath("src/cards/card.rs")
SECRET = "outside of the workspace"


def _link_to_file(path: Path) -> None:
    (path.parents[3] / "secret.rs").write_text(SECRET)
    path.symlink_to(path.parents[3] / "secret.rs")


def _link_to_folder(path: Path) -> None:
    outside = path.parents[3] / "outside"
    outside.mkdir()
    (outside / path.name).write_text(SECRET)
    path.parent.rmdir()
    path.parent.symlink_to(outside)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = Path.cwd()
        os.chdir(path.parent)  # a Unix socket's path may have 108 bytes at most
        try:
            listener.bind(path.name)
        finally:
            os.chdir(here)


def _file_for_folder(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("x")


@pytest.mark.parametrize(
    ("leave", "message"),
    [
        (lambda path: None, "is not there"),
        (_link_to_file, "is a link or can't be read"),
        (lambda path: path.symlink_to("/dev/zero"), "is a link or can't be read"),
        (lambda path: path.symlink_to(path), "is a link or can't be read"),
        (_link_to_folder, "is a link or can't be read"),
        (_file_for_folder, "is a link or can't be read"),
        (_socket, "is a link or can't be read"),
        (lambda path: path.mkdir(), "can't be read"),
        (os.mkfifo, "is no regular file"),
        (lambda path: path.write_bytes(b"x" * (SIZE_LIMIT + 1)), "is larger than 1048576 bytes"),
        (lambda path: path.write_bytes(b"fn \xff() {}"), "is not UTF-8 text (at byte 3)"),
    ],
)
def test_collecting_what_is_no_source(tmp_path: Path, leave: Callable[[Path], None], message: str) -> None:
    path = tmp_path / "workspace" / FILE
    path.parent.mkdir(parents=True)
    leave(path)
    with pytest.raises(UnusableSource) as refused:
        collect(tmp_path / "workspace", FILE)
    assert message in str(refused.value)
    assert SECRET not in str(refused.value)


def test_collecting_a_file(tmp_path: Path) -> None:
    path = tmp_path / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes("fn grüß() {}\r\n".encode())
    assert collect(tmp_path, FILE) == "fn grüß() {}\r\n"


async def test_an_unusable_file_is_the_agents_failure(tmp_path: Path) -> None:
    def act(task: Task, context: AgentContext) -> None:
        (task.workspace / task.file).symlink_to("/etc/passwd")

    async with serving(settings(tmp_path), {"scripted": Scripted(act)}) as client:
        reply = await client.post("/rollout", json=rollout("one", "scripted"))
    body = reply.json()
    assert body["reward_info"]["outcome_reward"] == 0.0
    assert body["reward_info"]["details"]["failure"]["kind"] == "agent-failed"
    assert (body["reward_info"]["details"]["tests_passed"], body["reward_info"]["details"]["tests_total"]) == (0, 1)
    assert "root:" not in reply.text


def _task(stub: str) -> Task:
    return Task(prompt="", workspace=Path("/nowhere"), file=FILE, stub=stub, tests_total=1)


def test_artifacts_keep_the_end_and_stay_within_bounds() -> None:
    log = "".join(f"línea {number}\n" for number in range(20_000))
    kept = artifacts(_task(""), "", AgentOutcome(log=log), Grade(0.0, 0, 1, test_output="short"), Overrides())
    by_name = {artifact.name: artifact.content for artifact in kept}
    assert set(by_name) == {"agent.log", "tests.txt"}
    assert by_name["tests.txt"] == "short"
    assert len(by_name["agent.log"].encode()) <= LIMIT
    assert by_name["agent.log"].startswith("[the first part was left out")
    assert by_name["agent.log"].endswith("línea 19999\n")


def test_the_diff_is_against_the_stub() -> None:
    kept = artifacts(
        _task("fn a() {}\nfn b() {}"), "fn a() {}\nfn c() {}\n", AgentOutcome(), Grade(1.0, 1, 1), Overrides()
    )
    diff = next(artifact.content for artifact in kept if artifact.name == "diff.patch")
    assert diff.splitlines() == [
        "--- a/src/cards/card.rs",
        "+++ b/src/cards/card.rs",
        "@@ -1,2 +1,2 @@",
        " fn a() {}",
        "-fn b() {}",
        "\\ No newline at end of file",
        "+fn c() {}",
    ]


def test_a_file_of_very_many_lines_gets_no_diff() -> None:
    kept = artifacts(_task("a\n"), "\n" * 100_000, AgentOutcome(), Grade(0.0, 0, 1), Overrides())
    diff = next(artifact.content for artifact in kept if artifact.name == "diff.patch")
    assert "no diff" in diff


def test_final_code_is_kept_whole_so_that_it_can_be_graded_again() -> None:
    source = "fn a() {}\n" * 20_000
    kept = artifacts(_task(""), source, AgentOutcome(), Grade(1.0, 1, 1), Overrides())
    assert next(artifact.content for artifact in kept if artifact.name == "final.rs") == source


def test_a_list_of_changes_does_not_pass_for_final_code() -> None:
    task = replace(_task(""), pristine={})
    kept = artifacts(task, "added a.txt\n", AgentOutcome(), Grade(1.0, 1, 1), Overrides())
    assert {artifact.name for artifact in kept} == {"changes.txt", "diff.patch"}
