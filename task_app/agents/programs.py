"""Finding an agent's program on this machine, and what a jail must be given for it to run."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from task_app.errors import InfrastructureFailure
from task_app.jail_root import SYSTEM_DIRECTORIES


@dataclass(frozen=True)
class Program:
    """A CLI that npm installs."""

    name: str
    variable: str
    """The setting that names another one, e.g. CODEX_BIN."""
    package: str
    version: str
    """The one that this was written for and is tested with."""

    @property
    def install(self) -> str:
        return f"npm install --global {self.package}@{self.version}"


@dataclass(frozen=True)
class Tool:
    """A further program that an agent needs on PATH."""

    name: str
    package: str
    """The npm package (a glob) that may bring it along."""
    install: str


@dataclass(frozen=True)
class Installed:
    """A program that is there."""

    path: Path
    """No link."""
    interpreter: Path | None
    """What runs it, if it is a script. No link."""

    @property
    def needed(self) -> tuple[Path, ...]:
        """What a jail has to be given: all that does not lie in the system's directories."""
        parts = [_package(self.path), *([self.interpreter] if self.interpreter else [])]
        return tuple(part for part in parts if not _in_system(part))


def find(program: Program, named: str | None = None, environment: Mapping[str, str] = os.environ) -> Installed:
    """The program that its variable names, else the one on PATH.

    Args:
        named: the variable's value.

    Raises:
        InfrastructureFailure: it is not there; says how to get it.
    """
    wanted = named or program.name
    found = shutil.which(wanted, path=environment.get("PATH"))
    if found is None:
        where = f"{program.variable} names {named}, which is no program" if named else "it is not on PATH"
        raise InfrastructureFailure(
            f"Agent program {program.name} can't be run: {where}. "
            f"Install it with `{program.install}`, or set {program.variable} to where it is."
        )
    return installed(Path(found), environment)


def installed(path: Path, environment: Mapping[str, str] = os.environ) -> Installed:
    """A program, or a folder, at this path."""
    path = path.resolve()
    return Installed(path, _interpreter(path, environment))


def find_tool(tool: Tool, beside: Path, environment: Mapping[str, str] = os.environ) -> Installed:
    """The tool on PATH, or in an npm package installed along with the agent's.

    Raises:
        InfrastructureFailure: it is not there; says how to get it.
    """
    if found := shutil.which(tool.name, path=environment.get("PATH")):
        return installed(Path(found), environment)
    for folder in beside.parents:
        if folder.name == "node_modules":
            for candidate in sorted(folder.glob(f"{tool.package}/bin/{tool.name}")):
                return installed(candidate, environment)
    raise InfrastructureFailure(
        f"The program {tool.name}, which {beside.name} needs, is not on PATH. Install it with `{tool.install}`."
    )


def _package(path: Path) -> Path:
    """The outermost node_modules around a file, since packages find each other there; else the file itself."""
    for folder in reversed(path.parents):
        if folder.name == "node_modules":
            return folder
    return path


def _interpreter(path: Path, environment: Mapping[str, str]) -> Path | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        line = file.readline(256)
    if not line.startswith(b"#!"):
        return None
    words = line[2:].decode(errors="replace").split()
    if words and Path(words[0]).name == "env":
        words = words[1:]
    found = shutil.which(words[0], path=environment.get("PATH")) if words else None
    return Path(found).resolve() if found else None


def _in_system(path: Path) -> bool:
    return any(path.is_relative_to(directory) for directory in SYSTEM_DIRECTORIES)
