"""Reads a task's Dockerfile, as far as what it copies from its own folder, and which part of it is the task's own.

Tasks often differ in a few files only, which their Dockerfiles put in place at the end. All before that is the same for
all of them: an image that they can share.
"""

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

APP = Path("/app")
SETUP = "setup.sh"
"""A script of the environment folder that puts a task's own files in their places."""

_CHANGES_NOTHING = frozenset(
    (
        "WORKDIR",
        "ENV",
        "LABEL",
        "EXPOSE",
        "VOLUME",
        "USER",
        "CMD",
        "ENTRYPOINT",
        "HEALTHCHECK",
        "STOPSIGNAL",
        "SHELL",
        "ARG",
    )
)
"""Of files."""


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile."""

    name: str
    text: str
    """As it stands, with its continuation lines but without comments."""
    options: tuple[str, ...] = ()
    """Of COPY and ADD, e.g. `--chmod=755`."""
    patterns: tuple[str, ...] = ()
    """What COPY or ADD takes from the folder of the Dockerfile; empty where it takes things from elsewhere."""
    copied: tuple[tuple[Path, PurePosixPath], ...] = ()
    """The files and folders that this means, each with its absolute target; none for what is not there."""

    @property
    def argument(self) -> str:
        return self.text.partition(" ")[2].strip()


@dataclass(frozen=True)
class Recipe:
    """A Dockerfile in two parts."""

    shared: tuple[Instruction, ...]
    """What makes the image, for all tasks that agree in it."""
    own: tuple[Instruction, ...]
    """What puts the task's own files in their places: copies below /app, and the setup script with what it needs."""


def read(environment: Path) -> tuple[Instruction, ...]:
    """Of the Dockerfile in a task's environment folder; empty if there is none."""
    path = environment / "Dockerfile"
    return tuple(_instructions(environment, path.read_text() if path.is_file() else ""))


def split(environment: Path) -> Recipe:
    """The Dockerfile in a task's environment folder."""
    instructions = read(environment)
    begin = len(instructions)
    while begin and _may_be_own(instructions[begin - 1]):
        begin -= 1
    before, end = instructions[:begin], instructions[begin:]
    # what the script needs must not be left behind in the image: a jail has little of that
    sets_up = any(map(runs_setup, end)) and not any(_leaves_app(instruction) for instruction in before)
    own = [instruction for instruction in end if _is_own(instruction, sets_up)]
    return Recipe((*before, *(instruction for instruction in end if instruction not in own)), tuple(own))


def runs_setup(instruction: Instruction) -> bool:
    return instruction.name == "RUN" and SETUP in instruction.text


def _may_be_own(instruction: Instruction) -> bool:
    return instruction.name in _CHANGES_NOTHING or bool(instruction.patterns) or runs_setup(instruction)


def _leaves_app(instruction: Instruction) -> bool:
    return any(not target.is_relative_to(APP) for _, target in instruction.copied)


def _is_own(instruction: Instruction, sets_up: bool) -> bool:
    if sets_up and (runs_setup(instruction) or instruction.copied):
        return True
    return bool(instruction.copied) and not _leaves_app(instruction)


def _instructions(environment: Path, dockerfile: str) -> Iterator[Instruction]:
    lines = [line for line in dockerfile.splitlines() if not line.lstrip().startswith("#")]
    directory = PurePosixPath("/")
    for text in re.split(r"(?<!\\)\n", "\n".join(lines)):
        name, _, rest = text.strip().partition(" ")
        words = _words(rest.replace("\\\n", " ").strip()) if name.upper() in ("WORKDIR", "COPY", "ADD") else []
        if name.upper() == "WORKDIR" and words:
            directory /= words[0]
        if name.upper() in ("COPY", "ADD"):
            yield _copy(name.upper(), text.strip(), words, environment, directory)
        elif name:
            yield Instruction(name.upper(), text.strip())


def _copy(name: str, text: str, words: Sequence[str], environment: Path, directory: PurePosixPath) -> Instruction:
    options = tuple(word for word in words if word.startswith("--"))
    *patterns, target = [word for word in words if not word.startswith("--")] or [""]
    local = tuple(pattern for pattern in patterns if "://" not in pattern)
    if any(option.startswith("--from") for option in options) or not local:
        return Instruction(name, text, options)
    sources = [source for pattern in local for source in _matching(environment, pattern)]
    into = target.endswith("/") or len(sources) > 1
    copied = tuple(
        (source, directory / target / source.name if into and not source.is_dir() else directory / target)
        for source in sources
    )
    return Instruction(name, text, options, local, copied)


def _matching(environment: Path, pattern: str) -> Iterator[Path]:
    relative = pattern.lstrip("/").removeprefix("./")
    if relative in ("", "."):
        yield environment
    elif ".." not in PurePosixPath(relative).parts:
        yield from sorted(environment.glob(relative))


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
