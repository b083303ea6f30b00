"""The pull step of prefect.yaml: where a worker finds the code."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The folder that holds all rooms: the checkout, or site-packages where a wheel is installed."""


def installed_code() -> dict[str, str]:
    """Change into the folder that this package is installed from, wherever that is on the worker's machine."""
    os.chdir(ROOT)
    return {"directory": str(ROOT)}
