"""Tasks of the Harbor layout in Daytona sandboxes: each environment becomes a snapshot, built from its Dockerfile."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests import synthetic
from tests.daytona_emulator import Emulator, emulator
from tests.daytona_emulator.execute import environment
from tests.flows.conftest import CommandLine
from tests.sandboxes.daytona_harness import skip_without_commands

CARDS = """\
FROM rust:1.82-bookworm
COPY crate/ /app/
RUN test -f /app/Cargo.toml
# from here on it is the task's own
WORKDIR /app
COPY setup.sh /setup/
COPY stubs /setup/stubs
RUN bash /setup/setup.sh
CMD ["bash"]
"""
ADDER = {
    "task.toml": '[environment]\ncpus = 3\nmemory_mb = 5000\n[verifier.env]\nWANTED = "5"\n',
    "instruction.md": "Make /app/add.sh print the sum of its two arguments.\n",
    "environment/Dockerfile": "FROM debian\nWORKDIR /app\nCOPY tools/ /usr/local/bin/\nRUN touch add.sh\n",
    "environment/tools/check-sum": '#!/bin/sh\n[ "$(sh /app/add.sh 2 3)" = "$1" ] && echo 1 || echo 0\n',
    "solution/solve.sh": "echo 'echo $(($1 + $2))' > /app/add.sh\n",
    "tests/test.sh": "check-sum $WANTED > /logs/verifier/reward.txt\n",
}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Three cards, which share an environment with their crate, and a task with one of its own."""
    folder = tmp_path / "dataset"
    synthetic.write_harbor(folder, instances=3, lines=200)
    for task in (folder / "tasks").iterdir():
        shutil.copytree(folder / "harbor-root", task / "environment/crate")
        (task / "environment/Dockerfile").write_text(CARDS)
    shutil.rmtree(folder / "harbor-root")
    for name, text in ADDER.items():
        path = folder / "tasks/zz-add" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "tasks/zz-add/environment/tools/check-sum").chmod(0o755)
    return folder


@pytest.mark.slow
async def test_each_environment_is_a_snapshot_and_has_a_sandbox(command_line: CommandLine, dataset: Path) -> None:
    async with emulator() as emu:
        skip_without_commands(emu)
        assert rewards(command_line, emu, dataset, "gold") == [1.0, 1.0, 1.0, 1.0]
        snapshots = await made(emu, "/snapshots")
        assert rewards(command_line, emu, dataset, "noop") == [0.3, 0.3, 0.3, 0.0]
        assert await made(emu, "/snapshots") == snapshots, "the second run built anew"
        sandboxes = await made(emu, "/sandbox")
        assert await emu.sandboxes() == []
    assert Counter((each["cpu"], each["memory"]) for each in snapshots) == {(2, 8): 1, (3, 5): 1}
    assert [each["snapshot"] for each in sandboxes] == 2 * [each["name"] for each in snapshots]


def rewards(command_line: CommandLine, emu: Emulator, dataset: Path, agent: str) -> list[float]:
    """In seed order, of a run of its own."""
    words = ("run", "--daytona", "--agent", agent, "--benchmark", "harbor", "--path", str(dataset), "--json")
    process = command_line.start(*words, **environment(emu))
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    return [rollout["reward"] for rollout in json.loads(stdout)["rollouts"]]


async def made(emu: Emulator, path: str) -> list[dict[str, object]]:
    return [entry.request for entry in await emu.journal() if (entry.method, entry.path) == ("POST", path)]
