"""Which tools this sandbox works with, for the record of a run."""

import asyncio
import shutil

VERSION = "0.1.0"
"""Of the task app; it is uploaded as files, so no package metadata is there to ask."""


async def rustc_version() -> str | None:
    """What `rustc --version` prints; None if there is none."""
    rustc = shutil.which("rustc")
    if rustc is None:
        return None
    process = await asyncio.create_subprocess_exec(
        rustc, "--version", stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return output.decode(errors="replace").strip() or None
