"""What a task's image holds, made without a container engine: a given /app, and what the task adds to it.

Of a Dockerfile only COPY and ADD lines count that take files from the task's `environment` folder. All else is what the
given folder holds already; but a `setup.sh`, which puts a task's own files in their places, is run.
"""

import json
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from task_app.benchmarks.harbor_work import make_way
from task_app.errors import InfrastructureFailure

APP = Path("/app")
ROOT = "harbor-root"
"""Folder of a benchmark that holds what its images hold under /app; a task's own one is named by the task in it."""
SETUP = "setup.sh"
_ENVIRONMENT = PurePosixPath("/environment")
"""Where a `setup.sh` runs that no Dockerfile copies anywhere, with the environment folder around it."""


def image_root(folder: Path, task: str) -> Path:
    """What a task's image holds under /app.

    Raises:
        InfrastructureFailure: there is no such folder; says how to make one.
    """
    root = folder / ROOT
    if not root.is_dir():
        raise InfrastructureFailure(
            f"{folder} is in the Harbor layout, whose tasks run in images, and no folder with what these hold under "
            "/app was given. Give one with --harbor-root DIR: e.g. the crate that the Dockerfiles copy there, or what "
            "`docker create IMAGE` and `docker cp CONTAINER:/app DIR` write."
        )
    return root / task if (root / task).is_dir() else root


@dataclass(frozen=True)
class Staged:
    """What a task's environment adds to the image."""

    outside: Path
    """A folder that stands for the root of the image, with what belongs outside of /app."""
    setup: PurePosixPath | None
    """Where in the image the script is that has yet to run; None if there is none."""


def stage(environment: Path, app: Path, outside: Path) -> Staged:
    """Copy what the Dockerfile copies: into `app` what belongs to /app, else into `outside`, an empty folder."""
    setup = None
    for source, target in _copies(environment):
        folder, name = _place(target, app, outside)
        if source.is_dir():
            shutil.copytree(source, folder / name, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(source, make_way(folder, name))
        if source == environment / SETUP:
            setup = target
        elif (source / SETUP) == environment / SETUP:
            setup = target / SETUP
    if setup is None and (environment / SETUP).is_file():
        shutil.copytree(environment, outside / _ENVIRONMENT.relative_to("/"), dirs_exist_ok=True)
        setup = _ENVIRONMENT / SETUP
    return Staged(outside, setup)


def _place(target: PurePosixPath, app: Path, outside: Path) -> tuple[Path, str]:
    """The folder that a path of the image belongs to, and the rest of the path."""
    inside = PurePosixPath(*(part for part in target.parts if part != ".."))
    if inside.is_relative_to(APP):
        return app, str(inside.relative_to(APP))
    return outside, str(inside.relative_to("/"))


def _copies(environment: Path) -> Iterator[tuple[Path, PurePosixPath]]:
    """Source in the environment folder, and absolute target, of each file or folder that a Dockerfile copies."""
    dockerfile = environment / "Dockerfile"
    directory = PurePosixPath("/")
    for instruction, words in _instructions(dockerfile.read_text() if dockerfile.is_file() else ""):
        if instruction == "WORKDIR" and words:
            directory /= words[0]
        if instruction not in ("COPY", "ADD") or any(word.startswith("--from") for word in words):
            continue
        *patterns, target = [word for word in words if not word.startswith("--")] or [""]
        sources = [source for pattern in patterns for source in _matching(environment, pattern)]
        for source in sources:
            into = target.endswith("/") or len(sources) > 1
            yield source, directory / target / source.name if into and not source.is_dir() else directory / target


def _matching(environment: Path, pattern: str) -> Iterator[Path]:
    """Nothing for what is not there: such files came with the given /app."""
    relative = pattern.lstrip("/").removeprefix("./")
    if relative in ("", "."):
        yield environment
    elif ".." not in PurePosixPath(relative).parts and "://" not in relative:
        yield from sorted(environment.glob(relative))


def _instructions(dockerfile: str) -> Iterator[tuple[str, list[str]]]:
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        instruction, _, rest = line.strip().partition(" ")
        if instruction.upper() in ("WORKDIR", "COPY", "ADD"):
            yield instruction.upper(), _words(rest.strip())


def _words(text: str) -> list[str]:
    """Of the shell form or the JSON form."""
    if text.startswith("["):
        try:
            return [str(word) for word in json.loads(text)]
        except ValueError:
            pass
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()
