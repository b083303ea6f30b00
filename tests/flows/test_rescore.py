"""`resume --rescore`: what was written is graded again, no agent runs, and the old scores stay."""

import json
import sqlite3
import zlib
from pathlib import Path

import pytest

from tests.flows.conftest import CommandLine

HELLO = ("run", "--benchmark", "hello-world", "--attempts", "3", "--json")


def test_a_run_is_graded_again_as_one_of_its_own(command_line: CommandLine) -> None:
    first = command_line(*HELLO, "--agent", "gold").document
    _spoil_final_code(command_line, f"{first['flow_run_id']}-1")
    for _ in range(2):
        again = command_line("resume", first["run"], "--rescore", "--json")
        assert again.code == 0, again.stderr
        document = again.document
        assert [row["reward"] for row in document["rollouts"]] == [1.0, 0.0, 1.0]
        assert [row["former_reward"] for row in document["rollouts"]] == [1.0, 1.0, 1.0]
        assert document["rescored"] == {"run": first["run"], "changed": 1, "kept": 0}
        assert document["comparison"]["run"] == first["run"]
        assert document["comparison"]["mean"] == pytest.approx(-1 / 3)
        assert "graded again without the agent" in again.stderr
    kept = json.loads((command_line.cwd / "results" / first["run"] / "result.json").read_text())
    assert kept == first, "the old scores are as they were"
    resumed = command_line("resume", document["run"], "--json").document
    assert (resumed["run"], resumed["rescored"]) == (document["run"], document["rescored"])
    assert command_line.sandboxes() == []


def test_an_agent_that_left_nothing_keeps_its_score_and_needs_no_key(command_line: CommandLine) -> None:
    first = command_line(*HELLO, "--agent", "command", "--agent-command", "true").document
    again = command_line("resume", first["run"], "--rescore")
    assert again.code == 0, again.stderr
    assert "0 rewards changed. 3 left no code to grade, so their old score stands." in again.stdout


def test_a_run_without_a_score_has_nothing_to_grade(command_line: CommandLine) -> None:
    first = command_line(*HELLO, "--agent", "command", "--agent-command", "true").document
    with sqlite3.connect(command_line.cwd / "results/rollouts.db") as store:
        store.execute("DELETE FROM rollouts")
    again = command_line("resume", first["run"], "--rescore")
    assert (again.code, "has no score yet" in again.stderr) == (1, True)


def test_instances_that_have_moved_are_not_mixed_up(command_line: CommandLine) -> None:
    first = command_line(*HELLO, "--agent", "gold").document
    with sqlite3.connect(command_line.cwd / "results/rollouts.db") as store:
        store.execute("UPDATE rollouts SET row = json_set(row, '$.instance', 'another-one')")
    again = command_line("resume", first["run"], "--rescore")
    assert again.code == 1
    assert "what was another-one in run" in again.stderr


def _spoil_final_code(command_line: CommandLine, correlation_id: str) -> None:
    """As if the grader had since become stricter about what this rollout's agent wrote."""
    database: Path = command_line.cwd / "results/rollouts.db"
    packed = zlib.compress(json.dumps([{"name": "final.txt", "content": "Good evening\n"}]).encode())
    with sqlite3.connect(database) as store:
        changed = store.execute(
            "UPDATE rollouts SET artifacts = ? WHERE correlation_id = ?", (packed, correlation_id)
        ).rowcount
    assert changed == 1
