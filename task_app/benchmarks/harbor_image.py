"""What a task's image holds, made without a container engine: a given /app, and what the task adds to it.

Of a Dockerfile only COPY and ADD lines count that take files from the task's `environment` folder. All else is what the
given folder holds already; but a `setup.sh`, which puts a task's own files in their places, is run.

Where the image itself was made by an engine, and the task app runs in it, the given folder is its /app, and the task
adds what is its own (`dockerfile.split`).
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from task_app.benchmarks import dockerfile
from task_app.benchmarks.dockerfile import APP, SETUP, Instruction
from task_app.benchmarks.harbor_toml import Config
from task_app.benchmarks.harbor_work import make_way
from task_app.errors import InfrastructureFailure

ROOT = "harbor-root"
"""Folder of a benchmark that holds what its images hold under /app; a task's own one is named by the task in it."""
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


def settle(folder: Path, app: Path) -> None:
    """Take the image that this task app runs in for that of the benchmark's tasks; `app` is its /app."""
    root = folder / ROOT
    root.unlink(missing_ok=True)
    root.symlink_to(app)


def additions(folder: Path, environment: Path, config: Config) -> Sequence[Instruction]:
    """What of a task's Dockerfile is to be added to `image_root`. Bundles hold no links, so `settle` made one."""
    if not (folder / ROOT).is_symlink():
        return dockerfile.read(environment)
    return () if config.environment.docker_image else dockerfile.split(environment).own


@dataclass(frozen=True)
class Staged:
    """What a task's environment adds to the image."""

    outside: Path
    """A folder that stands for the root of the image, with what belongs outside of /app."""
    setup: PurePosixPath | None
    """Where in the image the script is that has yet to run; None if there is none."""


def stage(environment: Path, instructions: Sequence[Instruction], app: Path, outside: Path) -> Staged:
    """Copy what the instructions copy: into `app` what belongs to /app, else into `outside`, an empty folder."""
    setup = None
    for source, target in (copied for instruction in instructions for copied in instruction.copied):
        folder, name = _place(target, app, outside)
        if source.is_dir():
            shutil.copytree(source, folder / name, symlinks=True, dirs_exist_ok=True)
        else:
            shutil.copy2(source, make_way(folder, name))
        if source == environment / SETUP:
            setup = target
        elif (source / SETUP) == environment / SETUP:
            setup = target / SETUP
    has_run = any(map(dockerfile.runs_setup, dockerfile.read(environment)))
    if setup is None and (environment / SETUP).is_file() and not has_run:
        shutil.copytree(environment, outside / _ENVIRONMENT.relative_to("/"), dirs_exist_ok=True)
        setup = _ENVIRONMENT / SETUP
    return Staged(outside, setup)


def _place(target: PurePosixPath, app: Path, outside: Path) -> tuple[Path, str]:
    """The folder that a path of the image belongs to, and the rest of the path."""
    inside = PurePosixPath(*(part for part in target.parts if part != ".."))
    if inside.is_relative_to(APP):
        return app, str(inside.relative_to(APP))
    return outside, str(inside.relative_to("/"))
