"""Programs run to their end, and nothing of them is left."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from task_app import processes
from task_app.errors import InfrastructureFailure
from task_app.processes import Completed

ENV = {"PATH": os.defpath}


async def shell(script: str, tmp_path: Path, **options: object) -> Completed:
    settings = {"cwd": tmp_path, "env": ENV, "timeout": 30.0, **options}
    return await processes.run(["/bin/sh", "-c", script], **settings)  # type: ignore[arg-type]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


async def test_reports_how_it_ended_and_what_it_wrote(tmp_path: Path) -> None:
    completed = await shell("echo out; echo err >&2; exit 3", tmp_path)
    assert (completed.exit_code, completed.signal) == (3, None)
    assert (completed.stdout, completed.stderr) == ("out\n", "err\n")
    assert [completed.timed_out, completed.output_cut, completed.output_exceeded] == [False, False, False]


async def test_reports_a_signal(tmp_path: Path) -> None:
    completed = await shell("kill -USR1 $$", tmp_path)
    assert (completed.exit_code, completed.signal) == (None, signal.SIGUSR1)


async def test_hands_over_stdin_and_closes_it(tmp_path: Path) -> None:
    content = b"line\n" * 100_000
    assert (await shell("wc -c", tmp_path, stdin=content)).stdout.strip() == str(len(content))
    assert (await shell("wc -c", tmp_path)).stdout.strip() == "0"


async def test_a_program_may_ignore_its_stdin(tmp_path: Path) -> None:
    assert (await shell("exec <&-; echo done", tmp_path, stdin=b"x" * 1_000_000)).stdout == "done\n"


async def test_inherits_no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "secret")
    assert "secret" not in (await shell("env", tmp_path)).stdout


async def test_keeps_the_tail_and_says_how_much_was_cut(tmp_path: Path) -> None:
    completed = await shell("seq 1 1000; echo the end", tmp_path, output_limit=1000)
    assert len(completed.stdout.encode()) <= 1000
    assert completed.stdout.endswith("1000\nthe end\n")
    assert completed.stdout.startswith("[29")
    assert completed.output_cut
    assert not completed.output_exceeded


async def test_cuts_through_a_character_without_failing(tmp_path: Path) -> None:
    completed = await shell("printf 'ééééééééééééééééééééééééé'", tmp_path, output_limit=33)
    assert completed.stdout.endswith("é")


async def test_kills_a_program_that_writes_without_end(tmp_path: Path) -> None:
    completed = await shell("yes", tmp_path, output_limit=10_000)
    assert completed.output_exceeded
    assert completed.signal == signal.SIGKILL
    assert len(completed.stdout) <= 10_000


async def test_shows_output_as_it_comes(tmp_path: Path) -> None:
    seen: list[tuple[str, bytes]] = []
    first = asyncio.Event()

    def on_output(stream: processes.Stream, chunk: bytes) -> None:
        seen.append((stream, chunk))
        first.set()

    go = tmp_path / "go"
    os.mkfifo(go)
    running = asyncio.create_task(shell(f"echo one; read x <{go}; echo two >&2", tmp_path, on_output=on_output))
    await first.wait()
    assert seen == [("stdout", b"one\n")]
    await asyncio.to_thread(go.write_text, "\n")
    await running
    assert seen == [("stdout", b"one\n"), ("stderr", b"two\n")]


async def test_a_timeout_lets_it_end_by_itself_first(tmp_path: Path) -> None:
    completed = await shell("trap 'echo bye; exit 7' TERM; while :; do sleep 0.05; done", tmp_path, timeout=0.3)
    assert completed.timed_out
    assert (completed.exit_code, completed.stdout) == (7, "bye\n")


async def test_a_timeout_kills_what_ignores_the_request(tmp_path: Path) -> None:
    completed = await shell("trap '' TERM; while :; do sleep 0.05; done", tmp_path, timeout=0.3, grace=0.2)
    assert completed.timed_out
    assert completed.signal == signal.SIGKILL


LEAVES_A_CHILD = "sleep 1000 & echo $! >pid; "
LEAVES_A_SESSION = "setsid sh -c 'echo $$ >pid; exec sleep 1000' & while ! [ -s pid ]; do sleep 0.01; done; "
LEAVES_A_DAEMON = (
    "(setsid sh -c 'env -i sleep 1000 & echo $! >pid; wait' &) ; while ! [ -s pid ]; do sleep 0.01; done; "
)

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="finding processes beyond the group needs /proc")
LEFT = pytest.mark.parametrize(
    "left",
    [
        LEAVES_A_CHILD,
        pytest.param(LEAVES_A_SESSION, marks=linux_only),
        pytest.param(LEAVES_A_DAEMON, marks=linux_only),
    ],
    ids=["child", "own session", "daemon whose child has no environment"],
)


@LEFT
async def test_nothing_is_left_after_success(tmp_path: Path, left: str) -> None:
    assert (await shell(left + "exit 0", tmp_path)).exit_code == 0
    assert not is_alive(int((tmp_path / "pid").read_text()))


@LEFT
async def test_nothing_is_left_after_a_timeout(tmp_path: Path, left: str) -> None:
    assert (await shell(left + "sleep 1000", tmp_path, timeout=0.5, grace=0.2)).timed_out
    assert not is_alive(int((tmp_path / "pid").read_text()))


@LEFT
async def test_nothing_is_left_after_cancellation(tmp_path: Path, left: str) -> None:
    ready = asyncio.Event()
    running = asyncio.create_task(
        shell(left + "echo ready; sleep 1000", tmp_path, on_output=lambda _stream, _chunk: ready.set())
    )
    await ready.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not is_alive(int((tmp_path / "pid").read_text()))


async def test_names_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InfrastructureFailure, match="program 'no-such-program' does not exist"):
        await processes.run(["no-such-program"], cwd=tmp_path, env=ENV, timeout=5)
    with pytest.raises(InfrastructureFailure, match=r"working directory .*/nowhere"):
        await processes.run(["/bin/sh"], cwd=tmp_path / "nowhere", env=ENV, timeout=5)
    (tmp_path / "text").write_text("no program")
    with pytest.raises(InfrastructureFailure, match="can't be run"):
        await processes.run([str(tmp_path / "text")], cwd=tmp_path, env=ENV, timeout=5)
