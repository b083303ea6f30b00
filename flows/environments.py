"""What Harbor tasks run in where sandboxes are machines of their own: images built from the tasks' Dockerfiles.

Tasks that agree in all but what `dockerfile.split` finds to be their own share an image, and so snapshot and sandboxes.
"""

import gzip
import io
import math
import re
import shlex
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from core.errors import ConfigurationError
from sandboxes.base import Machine
from sandboxes.written import writing
from task_app.benchmarks import dockerfile
from task_app.benchmarks.dockerfile import Instruction
from task_app.benchmarks.harbor_files import HarborTask

MOST_BYTES = 1_000_000
"""Of what one image takes from its environment folder, compressed: it travels within the definition."""

_OURS = frozenset({"CMD", "ENTRYPOINT", "HEALTHCHECK"})
"""What runs in a sandbox, and whether it does well, is our own affair."""
_HERE_DOCUMENT = re.compile(r"<<-?\s*['\"]?[A-Za-z_]")
_MODE = re.compile(r"--chmod=(?P<mode>0?[0-7]{3})")
_ARCHIVE = re.compile(r"\.(tar|tgz|tbz2?|txz|t?zst)(\.|$)")
_CARRIED = "/tmp/.engine-bench-files.tar.gz"  # noqa: S108 - of an image in the making


def machine_for(task: HarborTask, asked: Machine) -> Machine:
    """The machine for a task: its image, and no less of anything than the task wants.

    An image that was asked for by name stands for all tasks' images.

    Raises:
        ConfigurationError: the task says of no image, or its Dockerfile has what can't be built without its folder.
    """
    wanted = task.config.environment
    image = asked.image or wanted.docker_image
    return asked.model_copy(
        update={
            "dockerfile": f"FROM {image}" if image else _self_contained(task.environment),
            "cpu": max(asked.cpu, wanted.cpus),
            "memory": max(asked.memory, math.ceil(wanted.memory_mb / 1024)),
            "disk": max(asked.disk, math.ceil(wanted.storage_mb / 1024)),
        }
    )


def _self_contained(environment: Path) -> str:
    """The Dockerfile less what is the task's own, with the files that it copies as text."""
    path = environment / "Dockerfile"
    recipe = dockerfile.split(environment)
    if not any(instruction.name == "FROM" for instruction in recipe.shared):
        raise ConfigurationError(
            f"{path} is missing, or has no FROM: on Daytona a task's image is built from it, or named by "
            "`environment.docker_image` in its task.toml."
        )
    lines: list[str] = []
    user = "root"
    for instruction in recipe.shared:
        if _HERE_DOCUMENT.search(instruction.text) and instruction.name in ("RUN", "COPY", "ADD"):
            raise ConfigurationError(f"{path}: here-documents are not supported here: `{_shown(instruction)}`.")
        if instruction.name == "FROM":
            user = "root"
        if instruction.name == "USER":
            user = instruction.argument
        if instruction.patterns:
            commands = _copying(path, instruction)
            lines += ["USER root", *(f"RUN {command}" for command in commands), f"USER {user}"]
        elif instruction.name not in _OURS:
            lines.append(instruction.text)
    return "\n".join(lines)


def _copying(path: Path, instruction: Instruction) -> Iterator[str]:
    modes = [_MODE.fullmatch(option) for option in instruction.options if option != "--link"]
    if not all(modes):
        raise ConfigurationError(
            f"{path}: of COPY's options only --from, --link and --chmod=NUMBER are supported here."
        )
    if "$" in instruction.text:
        raise ConfigurationError(f"{path}: variables are not supported here in `{_shown(instruction)}`.")
    if not instruction.copied:
        raise ConfigurationError(f"{path}: nothing in {path.parent} matches `{_shown(instruction)}`.")
    if instruction.name == "ADD" and any(_ARCHIVE.search(source.name) for source, _ in instruction.copied):
        raise ConfigurationError(f"{path}: ADD of an archive is not supported here: `{_shown(instruction)}`.")
    archive = _packed(instruction.copied, [int(mode["mode"], 8) for mode in modes if mode])
    if len(archive) > MOST_BYTES:
        raise ConfigurationError(
            f"{path}: `{_shown(instruction)}` takes {len(archive)} bytes, compressed; {MOST_BYTES} is what fits into "
            "an image definition. Fetch them by a RUN line, or build the image yourself and give it with --image."
        )
    yield from writing(_CARRIED, archive)
    yield shlex.join(["tar", "-xzf", _CARRIED, "-C", "/"]) + f" && rm {_CARRIED}"


def _packed(copied: Sequence[tuple[Path, PurePosixPath]], modes: Sequence[int]) -> bytes:
    """The same content gives the same bytes. A link is packed as what it points to."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for source, target in sorted(_files(copied), key=lambda pair: str(pair[1])):
            content = source.read_bytes()
            member = tarfile.TarInfo(str(target.relative_to("/")))
            member.size = len(content)
            member.mode = modes[-1] if modes else (0o755 if source.stat().st_mode & 0o100 else 0o644)
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)


def _files(copied: Sequence[tuple[Path, PurePosixPath]]) -> Iterator[tuple[Path, PurePosixPath]]:
    for source, target in copied:
        if source.is_dir():
            yield from ((path, target / path.relative_to(source)) for path in source.rglob("*") if path.is_file())
        else:
            yield source, target


def _shown(instruction: Instruction) -> str:
    return instruction.text.splitlines()[0][:100]
