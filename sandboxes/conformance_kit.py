"""What the conformance suite works with: the harness that a backend's tests provide, the stand-in, and garbage."""

import gzip
import hashlib
import io
import shutil
import tarfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from sandboxes import stand_in
from sandboxes.base import Backend, Sandbox, SandboxSpec
from sandboxes.bundle import Bundle, build

NONCE = "the-nonce-of-this-run"
KEY = "sk-a-key-that-must-not-show-4f81c2"

READY = 60.0
"""Seconds that a stand-in may take to get ready; a stand-in on a busy machine is far from it."""


class BackendHarness(ABC):
    """What the suite needs to do to a backend from outside: open it, break things in it, and look into it."""

    @abstractmethod
    def open(self) -> Backend:
        """A new backend object that shares nothing with earlier ones, as if in another process."""

    @abstractmethod
    async def kill_task_app(self, sandbox: Sandbox) -> None:
        """Kill it without warning, as a machine short of memory does; returns once it is dead."""

    @abstractmethod
    async def half_make(self, spec: SandboxSpec) -> None:
        """Leave what a provision leaves that was killed in the middle."""

    @abstractmethod
    async def leftovers(self, spec: SandboxSpec) -> list[str]:
        """Everything that there still is of this sandbox: processes, directories, cloud resources."""

    @abstractmethod
    async def exposed(self, sandbox: Sandbox) -> str:
        """All that a curious process could read of the sandbox: files, command lines, environments."""


def environment(behaviour: str = "behaves") -> dict[str, SecretStr]:
    return {"NONCE": SecretStr(NONCE), "KEY": SecretStr(KEY), "BEHAVIOUR": SecretStr(behaviour)}


async def started(
    backend: Backend, spec: SandboxSpec, bundle: Bundle, behaviour: str = "behaves", nonce: str = NONCE
) -> Sandbox:
    """A sandbox after the steps up to `start`."""
    sandbox = await backend.provision(spec)
    await backend.upload(sandbox, bundle)
    await backend.install(sandbox, ())
    return await backend.start(sandbox, environment(behaviour) | {"NONCE": SecretStr(nonce)})


@retry(retry=retry_if_exception_type(httpx.HTTPError), wait=wait_fixed(0.1), stop=stop_after_delay(READY), reraise=True)
async def facts(backend: Backend, sandbox: Sandbox) -> dict[str, Any]:
    """What the stand-in sees of its own situation, once it serves: `start` waits for its process alone."""
    endpoint = await backend.endpoint(sandbox)
    headers = {name: value.get_secret_value() for name, value in endpoint.headers.items()}
    async with httpx.AsyncClient(trust_env=False, timeout=READY) as client:
        response = await client.get(f"{endpoint.url}/facts", headers=headers)
    seen: dict[str, Any] = response.raise_for_status().json()
    return seen


def packed(name: str, link: str | None = None) -> Bundle:
    """A bundle of one empty file, or link, that `build` would not make."""
    member = tarfile.TarInfo(name)
    if link is not None:
        member.type, member.linkname = tarfile.SYMTYPE, link
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        tar.addfile(member)
    return Bundle(gzip.compress(plain.getvalue()), hashlib.sha256(plain.getvalue()).hexdigest())


GARBAGE = {
    "empty": Bundle(b"", "0" * 64),
    "no archive": Bundle(b"not a gzip archive", hashlib.sha256(b"not a gzip archive").hexdigest()),
    "no tar": Bundle(gzip.compress(b"x" * 2000), hashlib.sha256(b"x" * 2000).hexdigest()),
    "cut short": Bundle(packed("task_app/__main__.py").archive[:40], packed("task_app/__main__.py").digest),
    "wrong digest": Bundle(packed("task_app/__main__.py").archive, "0" * 64),
    "absolute path": packed("/escaped"),
    "link": packed("task_app", link="/etc"),
    "parent folder": packed("../escaped"),
    "deep parent folder": packed("task_app/../../escaped"),
}


def stand_in_bundle(folder: Path, version: str) -> Bundle:
    """The stand-in as a bundle; `folder` is scratch space, and another version gives another digest."""
    parts = folder / version / "task_app"
    shutil.copytree(Path(stand_in.__file__).parent, parts)
    (parts / "version.txt").write_text(version)
    return build({"task_app": parts})


def broken_bundle(folder: Path) -> Bundle:
    """A task app that ends before it has read its keys."""
    folder.mkdir()
    (folder / "__main__.py").write_text("import a_module_that_nobody_has\n")
    for name in ("__init__.py", "requirements.in", "requirements.txt"):
        (folder / name).touch()
    return build({"task_app": folder})
