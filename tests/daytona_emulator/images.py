"""Images: a base, which is always this machine's own file system, plus what a Dockerfile's steps did to it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import shlex
import shutil
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import websockets

from .daemons import BootFailed, Daemon
from .errors import ApiError
from .isolation import Cell, Isolation
from .tasks import lasting

SKIPPED = re.compile(r"\b(apt|apt-get|debconf-set-selections|apk|yum|dnf)\b|pip install --upgrade pip\b")
"""RUN steps that are recorded but not executed: they bring a bare image to what this machine has already."""

RECORDED = "(recorded, not executed)"


class BuildFailed(RuntimeError):
    """A build step failed; the message says which."""


@dataclass(frozen=True)
class Dockerfile:
    """What the emulator understands. steps: RUN lines and the directory they run in; workdir: empty for the home."""

    base: str
    steps: tuple[tuple[str, str], ...]
    env: dict[str, str]
    workdir: str
    entrypoint: list[str] | None

    @classmethod
    def parse(cls, text: str) -> Dockerfile:
        """ApiError 400 for what can't be emulated, rather than a sandbox that lacks something."""
        base, workdir, entrypoint = "", "", None
        steps: list[tuple[str, str]] = []
        env: dict[str, str] = {}
        for line in re.sub(r"\\\n", " ", text).splitlines():
            instruction, _, rest = line.strip().partition(" ")
            match instruction.upper():
                case "" | "#" | "LABEL" | "EXPOSE" | "SHELL" | "USER" | "ARG":
                    continue
                case "FROM":
                    base = rest.strip()
                case "RUN":
                    steps.append((workdir or "/", _shell_form(rest)))
                case "ENV":
                    env |= dict(word.partition("=")[::2] for word in shlex.split(rest))
                case "WORKDIR":
                    workdir = shlex.split(rest)[0]
                case "ENTRYPOINT" | "CMD":
                    entrypoint = shlex.split(_shell_form(rest))
                case other if not other.startswith("#"):
                    raise ApiError(400, f"the emulator does not know the Dockerfile instruction {other}")
        if not base:
            raise ApiError(400, "Dockerfile has no FROM")
        return cls(base, tuple(steps), env, workdir, entrypoint)

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr(self).encode()).hexdigest()


def _shell_form(text: str) -> str:
    """A shell command line, also of an instruction in exec form (a JSON array)."""
    try:
        words = json.loads(text)
    except ValueError:
        return text
    return shlex.join(words) if isinstance(words, list) else text


@dataclass(frozen=True)
class Image:
    """What a sandbox starts from. layers: newest first; workdir: empty for the home."""

    layers: tuple[Path, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = ""
    entrypoint: list[str] | None = None


class BuildLog:
    """Lines of one build, which can be followed while it runs."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._closed = False
        self._changed = asyncio.Event()

    def write(self, line: str) -> None:
        self._lines.append(line + "\n")
        self._announce()

    def close(self) -> None:
        self._closed = True
        self._announce()

    async def follow(self) -> AsyncIterator[str]:
        position = 0
        while True:
            changed = self._changed
            while position < len(self._lines):
                yield self._lines[position]
                position += 1
            if self._closed:
                return
            await changed.wait()

    def so_far(self) -> str:
        return "".join(self._lines)

    def _announce(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class ImageBuilder:
    """Builds images, each once: the same instructions give the layer that is already there."""

    def __init__(self, directory: Path, isolation: Isolation, build_seconds: float) -> None:
        self._directory = directory
        self._isolation = isolation
        self._build_seconds = build_seconds
        self._images: dict[str, Image] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def build(self, dockerfile: Dockerfile, log: BuildLog) -> Image:
        """The image; BuildFailed names the step that failed."""
        async with self._locks.setdefault(dockerfile.digest, asyncio.Lock()):
            log.write(f"FROM {dockerfile.base} (emulated by this machine's file system)")
            if dockerfile.digest in self._images:
                log.write(f"CACHED {dockerfile.digest[:12]}")
                return self._images[dockerfile.digest]
            async with lasting(self._build_seconds):
                layers = await self._layers(dockerfile, log)
            image = Image(layers, dockerfile.env, dockerfile.workdir, dockerfile.entrypoint)
            self._images[dockerfile.digest] = image
            return image

    async def _layers(self, dockerfile: Dockerfile, log: BuildLog) -> tuple[Path, ...]:
        executable = [step for _, step in dockerfile.steps if not SKIPPED.search(step)]
        if not executable or self._isolation.name in ("none", "hollow"):
            for _, step in dockerfile.steps:
                log.write(f"RUN {step} {RECORDED}")
            return ()
        cell = Cell(self._directory / uuid.uuid4().hex)
        try:
            daemon = await Daemon.start(self._isolation, cell, dockerfile.env, dockerfile.workdir, online=True)
            try:
                for workdir, step in dockerfile.steps:
                    await _run_step(daemon, workdir, step, log)
            finally:
                await daemon.stop()
        except (BootFailed, BuildFailed) as error:
            shutil.rmtree(cell.directory, ignore_errors=True)
            raise BuildFailed(str(error)) from error
        return (cell.upper,)


async def _run_step(daemon: Daemon, workdir: str, step: str, log: BuildLog) -> None:
    """Run one step in a shell of its own, through the daemon's own session API."""
    if SKIPPED.search(step):
        log.write(f"RUN {step} {RECORDED}")
        return
    log.write(f"RUN {step}")
    session = f"/process/session/{uuid.uuid4().hex}"
    (await daemon.client.post("/process/session", json={"sessionId": session.rpartition("/")[2]})).raise_for_status()
    place = shlex.quote(workdir)
    command = {"command": f"mkdir -p {place} && cd {place} && sh -c {shlex.quote(step)}", "runAsync": True}
    started = (await daemon.client.post(f"{session}/exec", json=command)).raise_for_status().json()
    path = f"{session}/command/{started['cmdId']}"
    uri = f"ws://toolbox{path}/logs?follow=true"
    async with websockets.unix_connect(daemon.socket, uri, max_size=None, proxy=None) as stream:
        async for chunk in stream:
            assert isinstance(chunk, bytes)
            for line in chunk.splitlines():
                log.write(line[3:].decode(errors="replace"))
    code = (await daemon.client.get(path)).raise_for_status().json()["exitCode"]
    await daemon.client.delete(session)
    if code != 0:
        log.write(f"exit code {code}")
        raise BuildFailed(f"The command '{step}' returned a non-zero code: {code}")
