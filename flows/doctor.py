"""`engine-bench doctor`: what each backend and agent needs, whether it is there, and how to get it."""

import asyncio
import json
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from rich.console import Console
from rich.table import Column, Table

from core.errors import EngineBenchError
from core.settings import Settings
from flows.server import LocalServer
from task_app.isolation import Isolation, Level

INSTALL_RUST = "Install Rust from https://rustup.rs; `--benchmark hello-world` needs none"


class Check(NamedTuple):
    name: str
    needed_for: str
    status: Literal["ok", "missing", "optional"]
    """`optional`: absent, but nothing that is always needed."""
    found: str
    fix: str = ""


def report(settings: Settings, agents: Sequence[Check], as_json: bool) -> int:
    """Print all checks, those of the agents last; returns 1 if something is missing that is not optional, else 0."""
    checks = [*(check(settings) for check in CHECKS), *agents]
    if as_json:
        sys.stdout.write(json.dumps([check._asdict() for check in checks], indent=2) + "\n")
    else:
        Console().print(_table(checks))
    return 1 if any(check.status == "missing" for check in checks) else 0


def _python(_: Settings) -> Check:
    ok = sys.version_info >= (3, 11)
    fix = "" if ok else "Install Python 3.11 or newer"
    return Check("Python", "everything", "ok" if ok else "missing", platform.python_version(), fix)


def _cargo(_: Settings) -> Check:
    path = shutil.which("cargo")
    if path is None:
        return Check("cargo", "benchmarks in Rust", "missing", "not on PATH", INSTALL_RUST)
    answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60, check=False)
    if answer.returncode != 0:
        said = (answer.stderr.strip().splitlines() or ["no output"])[-1]
        return Check("cargo", "benchmarks in Rust", "missing", f"{path} fails: {said}", INSTALL_RUST)
    return Check("cargo", "benchmarks in Rust", "ok", answer.stdout.strip())


def _isolation(_: Settings) -> Check:
    with tempfile.TemporaryDirectory() as folder:
        level = asyncio.run(Isolation.detect(Path(folder))).level
    ok = level is Level.NAMESPACE
    fix = "" if ok else "Install util-linux and allow user namespaces: agents are confined better then"
    return Check("agent isolation", "scores an agent can't cheat", "ok" if ok else "optional", level, fix)


def _prefect_api(settings: Settings) -> Check:
    from flows.api import configured_api  # noqa: PLC0415 - brings Prefect along, which takes a second to import

    try:
        configured = configured_api()
    except EngineBenchError as error:
        found, _, fix = str(error).partition(". ")
        return Check("Prefect API", "every run", "missing", found, fix)
    if configured:
        return Check("Prefect API", "every run", "ok", f"{configured.api_url} answers", "")
    state, record = LocalServer(settings).state()
    found = f"local server {state}" + (f" at {record.ui_url}" if record else "; `run` starts it")
    broken = state == "not answering"
    return Check(
        "Prefect API", "every run", "missing" if broken else "ok", found, "engine-bench server stop" if broken else ""
    )


def _port(_: Settings) -> Check:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 8017))
        except OSError:
            return Check("port 8017", "the local backend", "ok", "in use; the next free one will be taken")
    return Check("port 8017", "the local backend", "ok", "free")


def _engine_bench(settings: Settings) -> Check:
    name, purpose = "ENGINE_BENCH_DIR", "benchmark engine-bench"
    if settings.dir is None:
        return Check(name, purpose, "optional", "not set", "Set it to your clone of EngineBench")
    ok = settings.dir.expanduser().is_dir()
    return Check(name, purpose, "ok" if ok else "missing", str(settings.dir), "" if ok else "There is no such folder")


def _hosted_evals(settings: Settings) -> Check:
    name, purpose = "SYNTH_BACKEND_URL", "a hosted eval service"
    if settings.synth_backend_url is None:
        return Check(name, purpose, "optional", "not set", "Not needed: the embedded eval service is used")
    ok = settings.synth_api_key is not None
    return Check(
        name, purpose, "ok" if ok else "missing", settings.synth_backend_url, "" if ok else "Set SYNTH_API_KEY"
    )


CHECKS: tuple[Callable[[Settings], Check], ...] = (
    _python,
    _cargo,
    _isolation,
    _prefect_api,
    _port,
    _engine_bench,
    _hosted_evals,
)

_STYLE = {"ok": "green", "missing": "red", "optional": "dim"}


def _table(checks: list[Check]) -> Table:
    table = Table(
        Column("check", no_wrap=True),
        "status",
        Column("found", overflow="fold"),
        "needed for",
        Column("how to fix", overflow="fold"),
    )
    for check in checks:
        table.add_row(
            check.name, f"[{_STYLE[check.status]}]{check.status}[/]", check.found, check.needed_for, check.fix
        )
    return table
