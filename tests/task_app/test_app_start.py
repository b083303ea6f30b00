"""`python -m task_app` as a backend starts it: keys through a private file, a socket from the parent, a clean end."""

import asyncio
import contextlib
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from task_app.settings import Settings, SettingsError, read_env_file
from tests.task_app.serving import KEY, NONCE, ROOT, rollout

SECRET = "sk-secret = of the provider "


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return _write(
        tmp_path / "task_app.env",
        f"ENVIRONMENT_API_KEY={KEY}\n"
        f"ENGINE_BENCH_NONCE={NONCE}\n"
        f"ENGINE_BENCH_BENCHMARK={ROOT / 'benchmarks' / 'hello-world'}\n"
        f"ENGINE_BENCH_WORK={tmp_path / 'work'}\n"
        f"OPENAI_API_KEY={SECRET}\n",
    )


def _write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@contextlib.asynccontextmanager
async def _started(*options: str, pass_fds: tuple[int, ...] = ()) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "task_app",
        *options,
        cwd=ROOT,
        pass_fds=pass_fds,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def _visible(pid: int) -> bytes:
    """What other processes of the user can see of a process."""
    return b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("environ", "cmdline"))


async def test_it_serves_an_inherited_socket_and_ends_on_sigterm(env_file: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        options = ("--fd", str(listener.fileno()), "--env-file", str(env_file))
        async with _started(*options, pass_fds=(listener.fileno(),)) as process:
            client = httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=60, trust_env=False)
            async with client:
                assert (await client.get("/health")).json()["nonce"] == NONCE
                reply = await client.post("/rollout", json=rollout("one"), headers={"X-API-Key": KEY})
                assert reply.json()["reward_info"]["outcome_reward"] == 1.0
            visible = _visible(process.pid)
            process.send_signal(signal.SIGTERM)
            stdout, stderr = await process.communicate()
    assert process.returncode in (0, -signal.SIGTERM)
    assert stdout == b""
    assert b"Application shutdown complete" in stderr
    for secret in (KEY.encode(), SECRET.encode()):
        assert secret not in visible + stderr


async def test_it_refuses_in_one_line(tmp_path: Path) -> None:
    env_file = _write(tmp_path / "env", "ENVIRONMENT_API_KEY=k\n", mode=0o640)
    async with _started("--port", "0", "--env-file", str(env_file)) as process:
        _, stderr = await process.communicate()
    assert process.returncode == 2
    assert stderr.decode().startswith("task_app: The environment file")
    assert len(stderr.splitlines()) == 1


async def test_a_benchmark_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    text = f"ENVIRONMENT_API_KEY=k\nENGINE_BENCH_NONCE=n\nENGINE_BENCH_BENCHMARK={tmp_path / 'nowhere'}\n"
    env_file = _write(tmp_path / "env", text)
    async with _started("--port", "0", "--env-file", str(env_file)) as process:
        _, stderr = await process.communicate()
    assert process.returncode == 2
    assert stderr.decode().splitlines() == [
        f"task_app: There is no folder {tmp_path / 'nowhere'}; "
        "expected a benchmark (classic, harbor, hello-world) there."
    ]


def test_settings_from_a_file(env_file: Path) -> None:
    settings = read_env_file(env_file)
    assert not env_file.exists()
    assert settings.api_key.get_secret_value() == KEY
    assert settings.slots == 1
    assert not settings.seal
    assert settings.agent_environment["OPENAI_API_KEY"].get_secret_value() == SECRET
    assert SECRET not in repr(settings)
    assert KEY not in repr(settings)


def test_defaults_are_beside_the_package() -> None:
    settings = Settings.model_validate({"ENVIRONMENT_API_KEY": "k", "ENGINE_BENCH_NONCE": "n"})
    assert settings.benchmark == ROOT / "benchmark"
    assert settings.work == ROOT / "work"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "ENVIRONMENT_API_KEY: Field required"),
        ("ENVIRONMENT_API_KEY=\nENGINE_BENCH_NONCE=n\n", "ENVIRONMENT_API_KEY"),
        ("ENVIRONMENT_API_KEY=hidden\nENGINE_BENCH_NONCE=n\nENGINE_BENCH_SLOTS=hidden\n", "ENGINE_BENCH_SLOTS"),
        ("ENVIRONMENT_API_KEY=hidden\nENGINE_BENCH_NONCE=n\nENGINE_BENCH_SLOTS=0\n", "ENGINE_BENCH_SLOTS"),
        ("ENVIRONMENT_API_KEY=hidden\nENGINE_BENCH_SLOT=2\n", "line 2: ENGINE_BENCH_SLOT is no setting"),
        ("ENVIRONMENT_API_KEY=hidden\nhidden\n", "line 2: expected NAME=value"),
    ],
)
def test_a_wrong_file_is_named_without_its_values(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_env_file(_write(tmp_path / "env", text))
    assert message in str(refused.value)
    assert str(tmp_path / "env") in str(refused.value)
    assert "hidden" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None
    assert not (tmp_path / "env").exists()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o660, 0o700])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SettingsError, match="mode 0600"):
        read_env_file(_write(tmp_path / "env", "ENVIRONMENT_API_KEY=k\n", mode))


def test_a_link_a_folder_or_nothing_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(_write(tmp_path / "env", "ENVIRONMENT_API_KEY=k\n"))
    (tmp_path / "folder").mkdir(mode=0o600)
    for name in ("link", "folder", "nothing"):
        with pytest.raises(SettingsError, match=name):
            read_env_file(tmp_path / name)
