"""The image that a snapshot is built from: everything that the steps up to `start` bring into a sandbox.

A build context would need object storage, so what is ours travels inside the image definition itself, as text.
"""

import gzip
import hashlib
import io
import tarfile
from dataclasses import dataclass

from daytona import Image, Resources

from sandboxes.base import Machine
from sandboxes.bundle import Bundle
from sandboxes.daytona.provisioning import base_image, resources
from sandboxes.daytona.remote import Place, content_digest, inside_source
from sandboxes.written import writing

PREFIX = "engine-bench-"
"""Of the names of all our snapshots."""

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
    place = Place.of(machine)
    image = base_image(machine).run_commands(
        f"mkdir -p {place.state}",
        *writing(place.inside, inside_source()),
        *writing(f"{place.state}/bundle.tar.gz", carried.archive),
        place.command("unpack", content_digest(carried)),
        place.command("install", *tools),
    )
    image = image.workdir(place.root)
    size = resources(machine)
    content = f"{image.dockerfile()}\n{size.cpu} {size.memory} {size.disk}"
    return Definition(f"{PREFIX}{hashlib.sha256(content.encode()).hexdigest()[:16]}", image, size)


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
