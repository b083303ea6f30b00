"""Which tools this sandbox works with, for the record of a run."""

import os
import shutil
from pathlib import Path

from task_app import processes

VERSION = "0.1.0"
"""Of the task app; it is uploaded as files, so no package metadata is there to ask."""


async def rustc_version() -> str | None:
    """What `rustc --version` prints; None if there is none that works."""
    rustc = shutil.which("rustc")
    if rustc is None:
        return None
    told = await processes.run([rustc, "--version"], cwd=Path.cwd(), env=os.environ, timeout=20)
    return told.stdout.strip() or None
