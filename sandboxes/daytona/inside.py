"""What runs inside a sandbox: unpacks the bundle, installs, starts the task app and watches over it.

Uploaded as it is and run by whatever Python 3.11+ the image has, so the standard library is all it uses. Its own folder
holds the state, the folder above is the work directory:

    /app/                the unpacked bundle: task_app/, benchmark/
    /app/.engine-bench/  this file, the virtual environment, logs, locks

Each verb is one command, `python3 inside.py VERB ARGUMENT...`, which prints its answer on the last line. Exit code 2
means that there is no task app yet, and 3 that trying again is of no use; the last line says why.
"""
# ruff: noqa: T201

import compileall
import contextlib
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

STATE_NAME = ".engine-bench"
STATE = Path(__file__).resolve().parent
ROOT = STATE.parent
PRIVATE = STATE / "private"
"""Where the task app's environment file is uploaded to."""
REQUIREMENTS = ROOT / "task_app" / "requirements.txt"
VENV = STATE / "venv"
ARCHIVE = STATE / "bundle.tar.gz"
DIGEST = STATE / "digest"
"""Of what is unpacked and was not used yet."""
RUNNING_DIGEST = STATE / "digest.running"
"""Of what the task app was started from."""
INSTALLED = STATE / "installed"
INSTALL_LOG = STATE / "install.log"
LOG = STATE / "task_app.log"
PID = STATE / "pid"
EXIT_CODE = STATE / "exit_code"
SERVE_LOCK = STATE / "serve.lock"
"""Held for as long as the task app lives."""
LAUNCHED = STATE / "launched"
"""Names the environment file of the latest start; until that serves, nobody else may start."""

PACKAGES = {"cargo": "cargo", "rustc": "rustc", "npm": "npm", "rg": "ripgrep"}
"""The tools that can be installed, and Debian's packages of them."""

EMPTY = 2
"""Exit code where there is no task app; Python's own where this file is missing."""
REFUSED = 3
LAUNCH_GRACE = 10.0
"""Seconds within which a start has to show."""
TERMINATION_GRACE = 15.0
"""Seconds that a task app has to end its rollouts when it is asked to stop."""
LOG_WINDOW = 256 * 1024
"""Bytes at the end of a log that its last lines are looked for in."""
PAUSE = 0.1


class Refused(Exception):
    """Trying again is of no use; the message says why."""


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Nobody else in this sandbox does the same meanwhile."""
    with (STATE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def serving() -> bool:
    """Whether a `serve` holds its lock."""
    with SERVE_LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def status() -> str:
    """`idle` (never started), `starting`, `running`, or `ended CODE`."""
    if serving():
        return "running"
    if EXIT_CODE.exists():
        return f"ended {EXIT_CODE.read_text()}"
    if not LAUNCHED.exists():
        return "idle"
    return "starting" if time.time() - LAUNCHED.stat().st_mtime < LAUNCH_GRACE else "ended unknown"


def holds(digest: str) -> str:
    """`yes` if the task app runs on this bundle, or could."""
    running = status() in {"starting", "running"}
    return "yes" if _read(RUNNING_DIGEST if running and RUNNING_DIGEST.exists() else DIGEST) == digest else "no"


def unpack(digest: str) -> str:
    """Have the archive's content as the work directory, and stop what ran on an earlier one."""
    with locked("unpack"):
        if holds(digest) == "yes":
            ARCHIVE.unlink(missing_ok=True)
            return "there"
        stop()
        PRIVATE.mkdir(mode=0o700, exist_ok=True)
        DIGEST.unlink(missing_ok=True)
        for path in ROOT.iterdir():
            if path != STATE:
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        with tarfile.open(ARCHIVE) as archive:
            archive.extractall(ROOT, filter="data")
        # Where this becomes a snapshot, every start from it is faster.
        compileall.compile_dir(ROOT / "task_app", quiet=2)
        ARCHIVE.unlink()
        DIGEST.write_text(digest)
    return "unpacked"


def installed(*tools: str) -> str:
    """`yes` if `install` would find everything done."""
    done = _read(INSTALLED) == _requirements_digest()
    return "yes" if done and all(shutil.which(tool.partition("=")[0]) for tool in tools) else "no"


def install(*tools: str) -> str:
    """Have the task app's requirements in a virtual environment, and these binaries on PATH. Output goes to its log."""
    with locked("install"), open(INSTALL_LOG, "ab", opener=_private) as log:
        wanted = _requirements_digest()
        if _read(INSTALLED) != wanted:
            INSTALLED.unlink(missing_ok=True)
            _make_venv(log)
            INSTALLED.write_text(wanted)
        for tool in tools:
            _have(tool, log)
    return "installed"


def _requirements_digest() -> str:
    if not REQUIREMENTS.is_file():
        raise Refused("there is no task app yet: the upload has to come first")
    return hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()


def _make_venv(log: IO[bytes]) -> None:
    lines = (line.partition("#")[0].strip() for line in REQUIREMENTS.read_text().splitlines())
    # pip takes seconds to get ready; where nothing is required there is nothing to wait for.
    some = any(lines)
    _run([sys.executable, "-m", "venv", "--clear", *([] if some else ["--without-pip"]), str(VENV)], log)
    if some:
        pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
        _run([*pip, "--require-hashes", "--progress-bar", "off", "-r", str(REQUIREMENTS)], log)


def _have(tool: str, log: IO[bytes]) -> None:
    """`tool` is a name, or `name=npm:package@version`."""
    name, _, source = tool.partition("=")
    if shutil.which(name):
        return
    if source.startswith("npm:"):
        _have("npm", log)
        _run(["npm", "install", "--global", "--no-audit", "--no-fund", source.removeprefix("npm:")], log)
        return
    if name not in PACKAGES or not shutil.which("apt-get"):
        raise Refused(f"`{name}` is not in the image. Choose an image that has it, e.g. one of deployments/Dockerfile.")
    # Debian's own packages: signed, in reach wherever package indexes are, and they bring the linker along.
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    _run(["apt-get", "update", "-q"], log, environment)
    _run(["apt-get", "install", "-q", "-y", "--no-install-recommends", PACKAGES[name]], log, environment)


def _run(command: list[str], log: IO[bytes], environment: dict[str, str] | None = None) -> None:
    """Show the command's output and keep it in the log; a failure of the command is one of ours."""
    print("$", *command, flush=True)
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout
        for line in process.stdout:
            log.write(line)
            sys.stdout.buffer.write(line)
            sys.stdout.flush()
    if process.returncode:
        print(f"exit code {process.returncode}")
        sys.exit(1)


def start(env_file: str, port: str) -> str:
    """Start the task app, unless it runs. Uses up the file, which holds its environment."""
    with locked("start"):
        # Somebody else's start that does not show is over after a while.
        while (now := status()) == "starting":
            time.sleep(PAUSE)
        # The same command may come twice, if its first answer got lost: then the file is the running one's.
        if now == "running":
            if _read(LAUNCHED) != env_file:
                Path(env_file).unlink(missing_ok=True)
            return now
        if not (ROOT / "task_app").is_dir():
            sys.exit(EMPTY)
        stop()
        LAUNCHED.write_text(env_file)
        with open(LOG, "ab", opener=_private) as log:
            subprocess.Popen(
                [sys.executable, __file__, "serve", env_file, port],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    return "started"


def serve(env_file: str, port: str) -> str:
    """Be the task app's parent until it ends. Its keys never outlive it, read or not."""
    with SERVE_LOCK.open("w") as lock:
        try:
            if not _take(lock):
                return "running"
            code = _serve(Path(env_file), port)
        finally:
            Path(env_file).unlink(missing_ok=True)
        EXIT_CODE.write_text(str(code))
    sys.exit(code if code >= 0 else 128 - code)


def _take(lock: IO[str]) -> bool:
    """False if another `serve` has it; those that only look whether somebody has it are gone at once."""
    for _ in range(20):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(PAUSE)
    return False


def _serve(env_file: Path, port: str) -> int:
    env_file.chmod(0o600)
    # Consumed: the task app may take away what its agents must not read, so only a fresh upload makes it whole again.
    RUNNING_DIGEST.unlink(missing_ok=True)
    if DIGEST.exists():
        DIGEST.rename(RUNNING_DIGEST)
    python = VENV / "bin" / "python"
    with open(LOG, "ab", opener=_private) as log:
        app = subprocess.Popen(
            [
                *(python if python.exists() else sys.executable, "-m", "task_app"),
                *("--host", "0.0.0.0", "--port", port, "--env-file", env_file),
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    PID.write_text(str(app.pid))
    return app.wait()


def stop() -> None:
    """End the task app, gently at first."""
    pid = int(_read(PID) or 0)
    if pid and b"task_app" in _command_line(pid):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + TERMINATION_GRACE
        while _command_line(pid) and time.monotonic() < deadline:
            time.sleep(PAUSE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
    while serving():
        time.sleep(PAUSE)
    for path in (PID, RUNNING_DIGEST, LAUNCHED, EXIT_CODE):
        path.unlink(missing_ok=True)


def _command_line(pid: int) -> bytes:
    """Empty if there is no such process, or only its remains."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def watch(seconds: str) -> str:
    """The status, once the task app has ended or after so many seconds."""
    deadline = time.monotonic() + float(seconds)
    while (now := status()) in {"starting", "running"} and time.monotonic() < deadline:
        time.sleep(PAUSE)
    return now


def log(lines: str) -> str:
    """The last lines that the task app wrote."""
    return _tail(LOG, int(lines))


def install_log(lines: str) -> str:
    """The last lines that the installation wrote."""
    return _tail(INSTALL_LOG, int(lines))


def _tail(path: Path, lines: int) -> str:
    if lines <= 0 or not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_WINDOW))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _read(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None


VERBS: dict[str, Callable[..., str]] = {
    verb.__name__.replace("_", "-"): verb
    for verb in (status, holds, unpack, installed, install, start, serve, watch, log, install_log)
}


def main() -> None:
    try:
        print(VERBS[sys.argv[1]](*sys.argv[2:]))
    except Refused as refusal:
        print(refusal)
        sys.exit(REFUSED)


if __name__ == "__main__":
    main()
