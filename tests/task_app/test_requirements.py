"""The task app runs on its own requirements alone, from an unpacked bundle, as a sandbox has it."""

import asyncio
import io
import shutil
import socket
import subprocess
import sys
import tarfile
from pathlib import Path

import httpx
import pytest

from sandboxes.bundle import build
from tests.task_app.serving import KEY, NONCE, ROOT, rollout


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the task app, hello-world, and a virtual environment with nothing but the pinned requirements."""
    folder = tmp_path_factory.mktemp("sandbox")
    bundle = build({"task_app": ROOT / "task_app", "benchmark": ROOT / "benchmarks" / "hello-world"})
    with tarfile.open(fileobj=io.BytesIO(bundle.archive)) as archive:
        archive.extractall(folder, filter="data")
    return folder


async def _call(*command: str | Path, cwd: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def _install(sandbox: Path) -> Path:
    """The interpreter of the new environment. uv if it is there, since it takes a second where pip takes ten."""
    requirements = sandbox / "task_app" / "requirements.txt"
    python = sandbox / "venv" / "bin" / "python"
    await _call(sys.executable, "-m", "venv", *(["--without-pip"] if _uv() else []), sandbox / "venv", cwd=sandbox)
    installer: list[str | Path]
    if uv := _uv():
        installer = [uv, "pip", "install", "--quiet", "--python", python]
    else:
        installer = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    await _call(*installer, "--require-hashes", "-r", requirements, cwd=sandbox)
    return python


def _uv() -> str | None:
    return shutil.which("uv", path=Path(sys.executable).parent)


async def test_it_serves_on_its_own_requirements_alone(sandbox: Path) -> None:
    python = await _install(sandbox)
    foreign = "import importlib.util as u; print([n for n in ('httpx', 'prefect', 'core') if u.find_spec(n)])"
    assert (await _call(python, "-c", foreign, cwd=sandbox)).strip() == "[]"
    _write_env(sandbox / "task_app.env")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        options = ("--fd", str(listener.fileno()), "--env-file", "task_app.env")
        process = await asyncio.create_subprocess_exec(
            python, "-m", "task_app", *options, cwd=sandbox, env={}, pass_fds=(listener.fileno(),)
        )
        host, port = listener.getsockname()
    try:
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", timeout=60, trust_env=False) as client:
            assert (await client.get("/health")).json()["nonce"] == NONCE
            for agent, reward in (("noop", 0.0), ("gold", 1.0)):
                reply = await client.post("/rollout", json=rollout(agent, agent), headers={"X-API-Key": KEY})
                assert reply.json()["reward_info"]["outcome_reward"] == reward
    finally:
        process.terminate()
        await process.wait()


def _write_env(path: Path) -> None:
    path.touch(mode=0o600)
    path.write_text(f"ENVIRONMENT_API_KEY={KEY}\nENGINE_BENCH_NONCE={NONCE}\n")


def test_listing_benchmarks_needs_no_web_framework() -> None:
    """The orchestrator imports this package to plan a run, and must not pay for a server."""
    code = "import sys, task_app.benchmarks; print({'fastapi', 'starlette', 'uvicorn'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
