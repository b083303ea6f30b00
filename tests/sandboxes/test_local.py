"""What only the local backend promises: private directories, ownership, ports, processes, its Python."""

import asyncio
import json
import os
import secrets
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
from filelock import FileLock
from pydantic import SecretStr

from core.errors import ConfigurationError, InfrastructureError
from core.settings import Settings
from sandboxes import local_python
from sandboxes.base import SandboxNotFound, SandboxSpec
from sandboxes.bundle import Bundle, build
from sandboxes.conformance_kit import KEY, NONCE, READY, environment, facts, stand_in_bundle, started
from sandboxes.local import LocalBackend
from sandboxes.local_dir import remove_tree

ROOT = Path(__file__).resolve().parents[2]

PROVISIONER = """
import asyncio, sys
from sandboxes.base import SandboxSpec
from sandboxes.local import LocalBackend
from core.settings import Settings
asyncio.run(LocalBackend(Settings(cache_dir=sys.argv[1])).provision(SandboxSpec.model_validate_json(sys.argv[2])))
print("provisioned", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def backend(cache: Path) -> LocalBackend:
    return LocalBackend(Settings(cache_dir=cache))


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
async def spec(cache: Path, backend: LocalBackend, free_port: int) -> AsyncIterator[SandboxSpec]:
    spec = SandboxSpec(name=f"eb-local-{secrets.token_hex(4)}", run_id="this-run", lane=0, port=free_port)
    yield spec
    record = cache / "sandboxes" / spec.name / "owner.json"
    if record.exists():
        await backend.cleanup(SandboxSpec.model_validate(json.loads(record.read_text())["spec"]))


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return stand_in_bundle(tmp_path / "bundles", "1")


@pytest.fixture
def directory(cache: Path, spec: SandboxSpec) -> Path:
    return cache / "sandboxes" / spec.name


@pytest.fixture
def other_run(cache: Path, spec: SandboxSpec) -> Iterator[subprocess.Popen[str]]:
    """Another process, with a flow run of its own, that has provisioned a sandbox of this name, and lives."""
    other = spec.model_copy(update={"run_id": "another-run"})
    with subprocess.Popen(
        [sys.executable, "-c", PROVISIONER, cache, other.model_dump_json()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "provisioned\n"
        yield process
        process.kill()


# The directory and its owner


async def test_a_sandbox_is_a_private_directory_with_its_owner_written_down(backend, spec, directory):
    sandbox = await backend.provision(spec)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert sandbox.id == str(directory)
    assert sandbox.workdir == str(directory / "app")
    record = json.loads((directory / "owner.json").read_text())
    assert record["spec"] == spec.model_dump()
    assert record["owner"]["pid"] == os.getpid()
    assert record["owner"]["started"] == pytest.approx(psutil.Process().create_time(), abs=1)
    assert record["expires_at"] - record["created_at"] == pytest.approx(spec.lifetime)


async def test_a_sandbox_of_a_run_that_still_goes_on_is_refused(backend, spec, other_run, directory):
    with pytest.raises(ConfigurationError, match=rf"another-run.* {other_run.pid} "):
        await backend.provision(spec)
    await backend.cleanup(spec)  # what the flow does next, and it is not ours to remove
    assert directory.exists()


async def test_a_sandbox_of_a_run_that_died_is_replaced(backend, spec, bundle, other_run, directory):
    (directory / "stale").touch()
    other_run.kill()
    other_run.wait()
    await backend.health(await started(backend, spec, bundle), NONCE, READY)
    assert not (directory / "stale").exists()


async def test_replacing_stops_what_the_dead_run_left_running(backend, cache, spec, bundle, other_run):
    other = spec.model_copy(update={"run_id": "another-run"})
    backend_of_other = LocalBackend(Settings(cache_dir=cache))
    sandbox = await started(backend_of_other, other, bundle)
    await backend.health(sandbox, NONCE, READY)
    left = psutil.Process((await facts(backend, sandbox))["pid"])
    _rewrite(cache, spec, owner={"pid": other_run.pid, "started": 1.0})
    await backend.provision(spec)
    assert not left.is_running()


async def test_a_pid_alone_does_not_make_an_owner(backend, cache, spec, other_run):
    _rewrite(cache, spec, owner={"pid": other_run.pid, "started": 1.0})
    await backend.provision(spec)


async def test_an_expired_sandbox_may_be_replaced_by_anybody(backend, cache, spec, other_run):
    _rewrite(cache, spec, expires_at=1.0)
    await backend.provision(spec)


async def test_the_same_run_in_another_process_adopts_and_owns(backend, cache, spec, bundle, other_run, directory):
    other = spec.model_copy(update={"run_id": "another-run"})
    (directory / "kept").touch()
    await backend.provision(other)
    assert (directory / "kept").exists()
    assert json.loads((directory / "owner.json").read_text())["owner"]["pid"] == os.getpid()


async def test_a_damaged_record_means_a_half_made_sandbox(backend, spec, bundle, directory):
    sandbox = await started(backend, spec, bundle)
    await backend.health(sandbox, NONCE, READY)
    left = psutil.Process((await facts(backend, sandbox))["pid"])
    (directory / "owner.json").write_text("{")
    with pytest.raises(SandboxNotFound):
        await backend.endpoint(sandbox)
    await backend.cleanup(spec)
    assert not directory.exists()
    assert not left.is_running()


def _rewrite(cache: Path, spec: SandboxSpec, **changes: object) -> None:
    path = cache / "sandboxes" / spec.name / "owner.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


async def test_a_cache_directory_that_cannot_be_made_is_named(tmp_path, spec):
    (tmp_path / "file").touch()
    with pytest.raises(InfrastructureError, match=str(tmp_path / "file")):
        await LocalBackend(Settings(cache_dir=tmp_path / "file" / "cache")).provision(spec)


# What the sweep finds


async def test_list_tells_whether_the_run_is_alive(backend, spec, other_run):
    (record,) = await backend.list()
    assert (record.spec.run_id, record.owner_alive) == ("another-run", True)
    other_run.kill()
    other_run.wait()
    (record,) = await backend.list()
    assert record.owner_alive is False


async def test_list_leaves_out_what_carries_no_record_of_its_own(backend, cache, spec):
    assert await backend.list() == ()
    await backend.provision(spec)
    sandboxes = cache / "sandboxes"
    for stranger in ("eb-half-made", "somebody-elses"):
        (sandboxes / stranger).mkdir()
    (sandboxes / "somebody-elses" / "owner.json").write_text("{}")
    shutil.copytree(sandboxes / spec.name, sandboxes / "a-copy")
    (sandboxes / "a-file").touch()
    assert [record.spec for record in await backend.list()] == [spec]


# Ports


async def test_the_wanted_port_is_used(backend, spec, bundle, caplog):
    sandbox = await started(backend, spec, bundle)
    assert sandbox.url == f"http://127.0.0.1:{spec.port}"
    assert "taken" not in caplog.text


async def test_a_taken_port_gives_way_to_the_next_free_one_and_both_are_named(backend, spec, bundle, caplog):
    with socket.create_server(("127.0.0.1", spec.port)):
        sandbox = await started(backend, spec, bundle)
        await backend.health(sandbox, NONCE, READY)
    assert sandbox.url is not None
    port = int(sandbox.url.rpartition(":")[2])
    assert port > spec.port
    assert f"Port {spec.port} is taken" in caplog.text
    assert f"uses port {port}" in caplog.text


async def test_when_no_port_is_free_it_says_which_were_tried(backend, spec, bundle):
    last = spec.model_copy(update={"port": 65535})
    with socket.create_server(("127.0.0.1", 65535)), pytest.raises(ConfigurationError, match="65535"):
        await started(backend, last, bundle)


async def test_the_port_is_held_from_the_moment_it_is_chosen(backend, spec, bundle):
    sandbox = await started(backend, spec, bundle)
    with pytest.raises(OSError, match="in use"):
        socket.create_server(("127.0.0.1", spec.port))
    await backend.health(sandbox, NONCE, READY)


# Start and health


async def test_only_harmless_variables_are_passed_on(backend, spec, bundle, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("CARGO_HOME", "/somewhere")
    sandbox = await started(backend, spec, bundle)
    await backend.health(sandbox, NONCE, READY)
    seen = (await facts(backend, sandbox))["environment"]
    assert seen["PATH"] == os.environ["PATH"]
    assert seen["CARGO_HOME"] == "/somewhere"
    assert seen["ENGINE_BENCH_SANDBOX"] == sandbox.id
    assert "ANTHROPIC_API_KEY" not in seen


async def test_a_ctrl_c_that_is_meant_for_the_flow_does_not_reach_the_task_app(backend, spec, bundle):
    sandbox = await started(backend, spec, bundle)
    await backend.health(sandbox, NONCE, READY)
    task_app = (await facts(backend, sandbox))["pid"]
    assert os.getsid(task_app) == os.getpgid(task_app) == task_app


async def test_the_proxies_of_this_environment_are_not_asked_for_loopback(backend, spec, bundle, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    await backend.health(await started(backend, spec, bundle), NONCE, READY)


async def test_keys_that_a_task_app_did_not_live_to_read_are_removed(backend, spec, tmp_path, directory):
    (tmp_path / "broken").mkdir()
    for name in ("__init__.py", "requirements.in", "requirements.txt"):
        (tmp_path / "broken" / name).touch()
    (tmp_path / "broken" / "__main__.py").write_text("raise SystemExit('broken')\n")
    sandbox = await started(backend, spec, build({"task_app": tmp_path / "broken"}))
    with pytest.raises(InfrastructureError, match="broken"):
        await backend.health(sandbox, NONCE, READY)
    assert not (directory / "task_app.env").exists()


async def test_an_upload_makes_whole_what_the_task_app_took_away(backend, spec, bundle, directory):
    sandbox = await started(backend, spec, bundle)
    await backend.health(sandbox, NONCE, READY)
    (directory / "app" / "task_app" / "version.txt").unlink()
    task_app = psutil.Process((await facts(backend, sandbox))["pid"])
    task_app.kill()
    psutil.wait_procs([task_app])
    sandbox = await started(backend, spec, bundle)
    await backend.health(sandbox, NONCE, READY)
    assert (await facts(backend, sandbox))["version"] == "1"


# Cleanup


async def test_what_a_task_app_has_for_a_while_goes_with_its_sandbox(backend, spec, bundle, directory):
    sandbox = await started(backend, spec, bundle)
    await backend.health(sandbox, NONCE, READY)
    environment = psutil.Process((await facts(backend, sandbox))["pid"]).environ()
    assert environment["TMPDIR"] == str(directory / "tmp")


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as process:
        yield process
        process.kill()


async def test_a_process_that_now_has_a_recorded_pid_is_left_alone(backend, spec, bundle, directory, bystander):
    sandbox = await started(backend, spec, bundle)
    await backend.health(sandbox, NONCE, READY)
    ours = psutil.Process((await facts(backend, sandbox))["pid"])
    record = json.loads((directory / "server.json").read_text())
    record["process"]["pid"] = bystander.pid
    (directory / "server.json").write_text(json.dumps(record | {"process": {"pid": bystander.pid, "started": 1.0}}))
    await backend.cleanup(spec)
    assert bystander.poll() is None
    assert not ours.is_running()  # found by its mark


@pytest.fixture
def visitor() -> Iterator[subprocess.Popen[str]]:
    """Goes into the directory that it reads a line of, and stays there."""
    look = "import os; os.chdir(input()); print('inside', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", look], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


async def test_a_shell_older_than_the_sandbox_that_looks_into_it_is_left_alone(backend, cache, spec, visitor):
    sandbox = await backend.provision(spec)
    # Start times are only so precise, so the sandbox is made younger than it is.
    _rewrite(cache, spec, created_at=time.time() + 10)
    visitor.stdin.write(f"{sandbox.id}\n")
    visitor.stdin.flush()
    assert visitor.stdout.readline() == "inside\n"
    await backend.cleanup(spec)
    assert visitor.poll() is None


async def test_cleaning_up_from_inside_of_the_sandbox_does_not_end_the_cleaner(
    backend, cache, spec, directory, monkeypatch
):
    await backend.provision(spec)
    _rewrite(cache, spec, created_at=0.0)  # as if this process were younger than the sandbox
    monkeypatch.chdir(directory)
    await backend.cleanup(spec)
    assert not directory.exists()


async def test_a_start_ends_what_an_earlier_task_app_left_behind(backend, spec, bundle, directory):
    sandbox = await started(backend, spec, bundle, "leaves-children")
    await backend.health(sandbox, NONCE, READY)
    children = psutil.Process((await facts(backend, sandbox))["pid"]).children()
    assert len(children) == 2
    task_app = children[0].parent()
    task_app.kill()
    psutil.wait_procs([task_app])
    await backend.health(await backend.start(sandbox, environment()), NONCE, READY)
    # Nobody may have collected them yet.
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


async def test_a_cancelled_verb_ends_only_with_its_work(backend, cache, spec, directory):
    (cache / "sandboxes").mkdir(parents=True)
    lock = FileLock(cache / "sandboxes" / f"{spec.name}.lock")
    lock.acquire()
    provision = asyncio.create_task(backend.provision(spec))
    await asyncio.sleep(0)  # it now waits for the lock, in a thread
    provision.cancel()
    asyncio.get_running_loop().call_later(0.1, lock.release)
    with pytest.raises(asyncio.CancelledError):
        await provision
    assert directory.exists()


def test_folders_that_a_build_left_read_only_are_removed():
    """As another user than root, whom no mode stops."""
    scratch = Path(tempfile.mkdtemp())
    inner = scratch / "target" / "debug" / "deps"
    inner.mkdir(parents=True)
    (inner / "lib.rlib").touch()
    (scratch / "outside").mkdir(mode=0o500)
    (inner / "link").symlink_to(scratch / "outside")
    for path in (scratch, *scratch.rglob("*")):
        if os.geteuid() == 0:
            os.chown(path, 65534, 65534, follow_symlinks=False)
    for path in (inner, inner.parent, scratch / "target"):
        path.chmod(0o500)

    child = subprocess.run(
        [sys.executable, "-c", REMOVE_AS_NOBODY, str(scratch / "target")],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert child.returncode == 0, child.stderr
    assert not (scratch / "target").exists()
    assert stat.S_IMODE((scratch / "outside").stat().st_mode) == 0o500
    remove_tree(scratch)


# A process of its own, which becomes nobody once all is imported: the interpreter may lie where nobody can read.
REMOVE_AS_NOBODY = """
import os, sys
from pathlib import Path
from sandboxes.local_dir import remove_tree

if os.geteuid() == 0:
    os.setuid(65534)
remove_tree(Path(sys.argv[1]))
"""


# Install


async def test_missing_rust_is_one_line_with_both_ways_out(backend, spec, bundle, monkeypatch, tmp_path):
    sandbox = await backend.provision(spec)
    await backend.upload(sandbox, bundle)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError) as caught:
        await backend.install(sandbox, ("cargo",))
    assert str(caught.value) == (
        "`cargo` was not found on PATH. Install Rust from https://rustup.rs and try again; "
        "`--benchmark hello-world` needs none."
    )


@pytest.fixture
def with_requirements(tmp_path: Path):
    """Bundles of the stand-in that ask for something."""

    def make(requirements: str, pins: str = "") -> Bundle:
        folder = tmp_path / "asking"
        stand_in_bundle(folder, "1")
        (folder / "1" / "task_app" / "requirements.in").write_text(requirements)
        (folder / "1" / "task_app" / "requirements.txt").write_text(pins)
        return build({"task_app": folder / "1" / "task_app"})

    return make


@pytest.mark.parametrize("requirement", ["no-such-package>=1", "pydantic<1"])
async def test_what_this_interpreter_lacks_is_named(backend, spec, with_requirements, requirement):
    sandbox = await backend.provision(spec)
    await backend.upload(sandbox, with_requirements(f"# all it needs\npydantic>=2\n{requirement}  # but this\n"))
    with pytest.raises(ConfigurationError, match=requirement) as caught:
        await backend.install(sandbox, ())
    assert "ENGINE_BENCH_LOCAL_VENV=1" in str(caught.value)
    assert "pydantic>=2" not in str(caught.value)


async def test_the_real_task_app_runs_on_this_interpreter(backend, spec):
    sandbox = await backend.provision(spec)
    await backend.upload(sandbox, build({"task_app": Path(__file__).parents[2] / "task_app"}))
    await backend.install(sandbox, ())


@pytest.mark.parametrize("uv", [True, False], ids=["uv", "pip"])
async def test_a_virtual_environment_of_its_own(cache, spec, bundle, directory, monkeypatch, uv):
    if not uv:
        monkeypatch.setattr(local_python, "_uv", lambda: None)
    backend = LocalBackend(Settings(cache_dir=cache, local_venv=True))
    sandbox = await backend.provision(spec)
    await backend.upload(sandbox, bundle)
    await backend.install(sandbox, ())
    made = (directory / "venv" / "pyvenv.cfg").stat()
    await backend.install(sandbox, ())
    assert (directory / "venv" / "pyvenv.cfg").stat() == made
    sandbox = await backend.start(sandbox, environment() | {"NONCE": SecretStr(NONCE)})
    await backend.health(sandbox, NONCE, READY)
    assert (await facts(backend, sandbox))["python"] == str(directory / "venv" / "bin" / "python")


async def test_a_failed_installation_shows_the_end_of_its_output_and_is_not_taken_for_done(
    cache, spec, with_requirements
):
    backend = LocalBackend(Settings(cache_dir=cache, local_venv=True))
    sandbox = await backend.provision(spec)
    await backend.upload(sandbox, with_requirements("", pins="a-package-without-a-hash==1.0\n"))
    for _ in range(2):
        with pytest.raises(InfrastructureError, match=r"(?s)exit code.*hash"):
            await backend.install(sandbox, ())


async def test_a_start_without_the_virtual_environment_says_what_has_to_come_first(cache, spec, bundle):
    backend = LocalBackend(Settings(cache_dir=cache, local_venv=True))
    sandbox = await backend.provision(spec)
    await backend.upload(sandbox, bundle)
    with pytest.raises(InfrastructureError, match="install has to come first"):
        await backend.start(sandbox, environment())
