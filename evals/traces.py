"""Downloads the traces of an eval job: a zip from elsewhere, so its size and its paths are not to be trusted."""

import asyncio
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO

import httpx
from pydantic import SecretStr

from core.errors import InfrastructureError
from evals.secrecy import quoted
from evals.synth import EvalServiceUnavailable, client, job_address, service_error

LARGEST_DOWNLOAD = 256 * 1024 * 1024
LARGEST_UNPACKED = 1024 * 1024 * 1024
LARGEST_RATIO = 200
"""Of unpacked to packed; text reaches 20, only a bomb a thousand. Not applied below 10 MB."""


async def download_traces(url: str, api_key: SecretStr, job_id: str, folder: Path) -> list[Path]:
    """Unpack the traces of a job into `folder` and return the files, sorted.

    Raises:
        InfrastructureError: the service did not send them, or its zip is too large or leaves `folder`.
        ConfigurationError: the service refuses the key.
    """
    with tempfile.TemporaryFile() as file:
        await _download(f"{job_address(url, job_id)}/traces", url, api_key, file)
        return await asyncio.to_thread(_unpack, file, folder)


async def _download(address: str, url: str, api_key: SecretStr, file: IO[bytes]) -> None:
    try:
        async with client(api_key, timeout=60) as http, http.stream("GET", address) as reply:
            if reply.status_code != 200:
                raise service_error(url, "download the job's traces", reply.status_code, f"HTTP {reply.status_code}")
            async for chunk in reply.aiter_bytes():
                file.write(chunk)
                if file.tell() > LARGEST_DOWNLOAD:
                    raise InfrastructureError(f"The traces at {address} are larger than {LARGEST_DOWNLOAD} bytes.")
    except httpx.HTTPError as error:
        said = quoted(f"{type(error).__name__}: {error}", (api_key,))
        raise EvalServiceUnavailable(f"Could not download the traces at {address}: {said}. Try again.") from None


def _unpack(file: IO[bytes], folder: Path) -> list[Path]:
    packed = file.tell()
    try:
        with zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            _require_harmless(members, packed)
            archive.extractall(folder, members)
            return sorted(folder / member.filename for member in members)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise InfrastructureError(f"The eval service sent traces that are no readable zip file: {error}.") from None


def _require_harmless(members: list[zipfile.ZipInfo], packed: int) -> None:
    unpacked = sum(member.file_size for member in members)
    if unpacked > LARGEST_UNPACKED or unpacked > max(packed * LARGEST_RATIO, 10 * 1024 * 1024):
        raise InfrastructureError(f"The traces would unpack from {packed} to {unpacked} bytes; they were not unpacked.")
    for member in members:
        path = PurePosixPath(member.filename)
        if path.is_absolute() or ".." in path.parts or "\\" in member.filename or ":" in member.filename:
            raise InfrastructureError(f"The traces hold a file outside their folder: {member.filename!r}.")
