"""Images of Harbor tasks where they are built: what tasks share, what stays their own, and what can't be built."""

import base64
import io
import random
import re
import tarfile
from pathlib import Path, PurePosixPath

import pytest

from core.errors import ConfigurationError
from core.settings import Settings
from flows.environments import machine_for
from flows.parameters import Parameters
from flows.plan import make_plan
from sandboxes.base import Machine
from task_app.benchmarks import dockerfile
from task_app.benchmarks.harbor_files import HarborTask, load

SETTING_UP = """\
# syntax=docker/dockerfile:1
FROM rust:1.82 AS base
RUN git clone https://example.invalid/engine /app \\
    && cargo fetch
WORKDIR /app
COPY setup.sh /tmp/setup.sh
COPY stubs/ /tmp/stubs/
ENV MODE=fast
RUN bash /tmp/setup.sh
CMD ["bash"]
"""


def task(folder: Path, name: str, text: str, files: dict[str, str] | None = None, toml: str = "") -> HarborTask:
    given = {"task.toml": toml, "instruction.md": "Do it.\n", "tests/test.sh": "true\n"}
    given |= {f"environment/{path}": content for path, content in (files or {}).items()}
    if text:
        given["environment/Dockerfile"] = text
    for path, content in given.items():
        (folder / name / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / name / path).write_text(content)
    return load(folder)[name]


def carried(machine: Machine) -> dict[str, tuple[bytes, int]]:
    """Content and mode of each file that an image definition holds, by absolute path."""
    found = {}
    for text in re.findall(r"echo (\S+) >> ", machine.dockerfile):
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(text))) as tar:
            for member in tar:
                source = tar.extractfile(member)
                assert source
                found[f"/{member.name}"] = (source.read(), member.mode)
    return found


def test_tasks_that_differ_in_their_own_files_share_an_image(tmp_path: Path) -> None:
    first = task(tmp_path, "a", SETTING_UP, {"setup.sh": "cp a /app\n", "stubs/a.rs": "fn a() {}\n"})
    second = task(tmp_path, "b", SETTING_UP, {"setup.sh": "cp b /app\n", "stubs/b.rs": "fn b() {}\n"})
    third = task(tmp_path, "c", SETTING_UP.replace("1.82", "1.83"), {"setup.sh": "", "stubs/c.rs": ""})
    machines = [machine_for(each, Machine()) for each in (first, second, third)]
    assert machines[0] == machines[1] != machines[2]
    assert machines[0].dockerfile.splitlines() == [
        "FROM rust:1.82 AS base",
        "RUN git clone https://example.invalid/engine /app \\",
        "    && cargo fetch",
        "WORKDIR /app",
        "ENV MODE=fast",
    ]
    own = dockerfile.split(tmp_path / "a/environment").own
    assert [target for instruction in own for _, target in instruction.copied] == [
        PurePosixPath("/tmp/setup.sh"),
        PurePosixPath("/tmp/stubs"),
    ]


def test_what_the_image_is_made_with_travels_in_its_definition(tmp_path: Path) -> None:
    text = "FROM debian\nUSER guest\nCOPY --chmod=700 tools/ /opt/tools/\nCOPY data.txt /data/\nRUN make\n"
    files = {"tools/deep/run": "echo\n", "data.txt": "1\n"}
    machine = machine_for(task(tmp_path, "a", text, files), Machine())
    assert carried(machine) == {"/opt/tools/deep/run": (b"echo\n", 0o700), "/data/data.txt": (b"1\n", 0o644)}
    lines = machine.dockerfile.splitlines()
    assert (lines[:3], lines[-2:]) == (["FROM debian", "USER guest", "USER root"], ["USER guest", "RUN make"])
    assert "COPY" not in machine.dockerfile


def test_other_content_is_another_image(tmp_path: Path) -> None:
    text = "FROM debian\nCOPY data.txt /data/\n"
    machines = {machine_for(task(tmp_path, name, text, {"data.txt": name}), Machine()) for name in ("a", "b")}
    assert len(machines) == 2


def test_a_script_whose_files_an_earlier_step_needs_belongs_to_the_image(tmp_path: Path) -> None:
    text = "FROM debian\nCOPY setup.sh /tmp/\nRUN apt-get update\nRUN sh /tmp/setup.sh\n"
    machine = machine_for(task(tmp_path, "a", text, {"setup.sh": "true\n"}), Machine())
    assert machine.dockerfile.endswith("RUN sh /tmp/setup.sh")
    assert dockerfile.split(tmp_path / "a/environment").own == ()


def test_a_machine_has_what_the_task_wants_and_no_less_than_was_asked_for(tmp_path: Path) -> None:
    toml = '[environment]\ndocker_image = "registry.invalid/task:1"\ncpus = 1\nmemory_mb = 8193\nstorage_mb = 20480\n'
    machine = machine_for(task(tmp_path, "a", "", toml=toml), Machine(cpu=2, memory=4, disk=8))
    assert (machine.cpu, machine.memory, machine.disk) == (2, 9, 20)
    assert machine.dockerfile == "FROM registry.invalid/task:1"


def test_tasks_that_share_an_image_have_the_longest_time_of_them_for_its_build(tmp_path: Path) -> None:
    for name, toml in (("a", ""), ("b", "build_timeout_sec = 60"), ("c", "build_timeout_sec = 90.5")):
        task(tmp_path, name, "FROM debian\n", toml=f"[environment]\n{toml}\n")
    task(tmp_path, "d", "FROM alpine\n")
    parameters = Parameters(benchmark="harbor", path=str(tmp_path), backend="daytona", snapshot="auto")
    plan = make_plan(parameters, "run", Settings())
    assert [(machine.dockerfile, machine.build_timeout) for machine in plan.machines] == [
        ("FROM debian", 90.5),
        ("FROM alpine", None),
    ]


def test_a_rollout_may_take_as_long_as_the_slowest_verifier_does_beyond_its_agent(tmp_path: Path) -> None:
    """Else a solution that hangs would be no 0 but an infrastructure failure, and be paid for again."""
    for name, seconds in (("a", 60), ("b", 1800)):
        task(tmp_path, name, "FROM debian\n", toml=f"[verifier]\ntimeout_sec = {seconds}\n")
    plan = make_plan(Parameters(benchmark="harbor", path=str(tmp_path), backend="daytona"), "run", Settings())
    assert plan.grading_allowance > 1800
    assert all(lane.spec.lifetime > plan.parameters.timeout + 1800 for lane in plan.lanes)


def test_an_image_asked_for_by_name_stands_for_all(tmp_path: Path) -> None:
    assert machine_for(task(tmp_path, "a", SETTING_UP), Machine(image="mine:1")).dockerfile == "FROM mine:1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "Dockerfile is missing, or has no FROM"),
        ("RUN true\n", "has no FROM"),
        ("FROM a\nCOPY lost.txt /x\nRUN true\n", "nothing in .* matches `COPY lost.txt /x`"),
        ("FROM a\nCOPY --chown=me data.txt /x\n", "of COPY's options only"),
        ("FROM a\nCOPY data.txt $HOME/x\n", "variables are not supported"),
        ("FROM a\nADD data.tar.gz /x\n", "ADD of an archive"),
        ("FROM a\nRUN <<EOF\ntrue\nEOF\n", "here-documents"),
        ("FROM a\nCOPY large.bin /x\nRUN true\n", "is what fits into an image definition"),
    ],
)
def test_what_can_not_be_built_is_named(tmp_path: Path, text: str, expected: str) -> None:
    noise = random.Random(0).randbytes(1_200_000).hex() if "large" in text else ""
    files = {"data.txt": "1", "data.tar.gz": "1", "large.bin": noise}
    with pytest.raises(ConfigurationError, match=expected):
        machine_for(task(tmp_path, "a", text, files), Machine())
