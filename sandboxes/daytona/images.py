"""The image that a snapshot is built from: everything that the steps up to `start` bring into a sandbox.

A build context would need object storage, so what is ours travels inside the image definition itself, as text.
"""

import base64
import gzip
import hashlib
import io
import shlex
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from daytona import Image, Resources

from sandboxes.base import Machine
from sandboxes.bundle import Bundle
from sandboxes.daytona.provisioning import DEFAULT_IMAGE, resources
from sandboxes.daytona.remote import INSIDE, ROOT, STATE, content_digest, inside_source

PREFIX = "engine-bench-"
"""Of the names of all our snapshots."""

_LINE = 60_000
"""Characters of one piece; Docker refuses lines from 65,535 on."""
_LARGEST = 1_000_000
"""Bytes of the largest archive that goes into an image definition."""


@dataclass(frozen=True)
class Definition:
    """A snapshot to be built. The name says what is in it, so the same content gives the same name."""

    name: str
    image: Image
    resources: Resources


def define(machine: Machine, bundle: Bundle, tools: tuple[str, ...]) -> Definition:
    """The snapshot for sandboxes of this machine that take this bundle and need these tools."""
    carried = bundle if len(bundle.archive) <= _LARGEST else _task_app_alone(bundle)
    image = Image.base(machine.image or DEFAULT_IMAGE).run_commands(
        f"mkdir -p {STATE}",
        *_write(INSIDE, inside_source()),
        *_write(f"{STATE}/bundle.tar.gz", carried.archive),
        shlex.join(["python3", INSIDE, "unpack", content_digest(carried)]),
        shlex.join(["python3", INSIDE, "install", *tools]),
    )
    image = image.workdir(ROOT)
    size = resources(machine)
    content = f"{image.dockerfile()}\n{size.cpu} {size.memory} {size.disk}"
    return Definition(f"{PREFIX}{hashlib.sha256(content.encode()).hexdigest()[:16]}", image, size)


def _write(path: str, content: bytes) -> Iterator[str]:
    """Commands that write a file, each short enough for a line of a Dockerfile."""
    text = base64.urlsafe_b64encode(content).decode()
    for start in range(0, len(text), _LINE):
        yield f"echo {text[start : start + _LINE]} >> {path}.b64"
    decode = "import base64, sys; sys.stdout.buffer.write(base64.urlsafe_b64decode(sys.stdin.read()))"
    yield f"python3 -c {shlex.quote(decode)} < {path}.b64 > {path} && rm {path}.b64"


def _task_app_alone(bundle: Bundle) -> Bundle:
    """Without a benchmark that is too large; the upload brings it, into an environment that is installed already."""
    plain = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(bundle.archive)) as whole,
        tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as part,
    ):
        for member in whole:
            if member.name.startswith("task_app/"):
                part.addfile(member, whole.extractfile(member))
    return Bundle(gzip.compress(plain.getvalue(), mtime=0), hashlib.sha256(plain.getvalue()).hexdigest())
