"""The Python that a local task app runs on: this interpreter, or a virtual environment of the sandbox's own."""

import asyncio
import importlib.metadata
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from packaging.requirements import Requirement

from core.errors import InfrastructureError

_INSTALLED = "installed.txt"
"""Written last into a virtual environment: the requirements that it has."""

_TAIL = 20
"""Lines of a failed command's output that its error shows."""


def missing_requirements(requirements: Path) -> list[str]:
    """Those of a requirements file (no options, no hashes) that this interpreter doesn't meet, each with the reason."""
    return list(_unmet(Requirement(line) for line in _lines(requirements)))


def _lines(requirements: Path) -> Iterator[str]:
    for line in requirements.read_text().splitlines():
        if text := line.partition("#")[0].strip():
            yield text


def _unmet(requirements: Iterator[Requirement]) -> Iterator[str]:
    for requirement in requirements:
        if requirement.marker and not requirement.marker.evaluate():
            continue
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            yield f"{requirement} is not installed"
        else:
            if not requirement.specifier.contains(version, prereleases=True):
                yield f"{requirement} is needed, {version} is installed"


def venv_python(venv: Path) -> Path:
    return venv / "bin" / "python"


async def make_venv(venv: Path, requirements: Path) -> None:
    """A virtual environment with exactly these pinned requirements; nothing to do where it is there.

    Raises:
        InfrastructureError: the installation failed; the message holds the end of its output.
    """
    if await asyncio.to_thread(_installed, venv, requirements):
        return
    uv = await asyncio.to_thread(_uv)
    if uv:
        await _run(uv, "venv", "--clear", "--python", sys.executable, str(venv))
        install = [uv, "pip", "install", "--python", str(venv_python(venv))]
    else:
        await _run(sys.executable, "-m", "venv", "--clear", str(venv))
        install = [str(venv_python(venv)), "-m", "pip", "install", "--disable-pip-version-check"]
    await _run(*install, "--require-hashes", "-r", str(requirements))
    await asyncio.to_thread(shutil.copyfile, requirements, venv / _INSTALLED)


def _installed(venv: Path, requirements: Path) -> bool:
    done = venv / _INSTALLED
    return done.is_file() and done.read_bytes() == requirements.read_bytes()


def _uv() -> str | None:
    """The one beside this interpreter, whether or not its environment is activated, else the one on PATH."""
    return shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")


async def _run(*command: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        # Else it would install into a folder that is being removed.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    if process.returncode:
        tail = "\n".join(output.decode(errors="replace").splitlines()[-_TAIL:])
        raise InfrastructureError(
            f"`{' '.join(command[:4])} ...` failed with exit code {process.returncode}. Its output ends with:\n{tail}"
        )
