"""How long the backend waits for what."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """Seconds. Less than what the flow's steps allow, so that an error is explained and cleaned up after."""

    create: float = 480
    """For a sandbox to start, image build included."""
    quota: float = 300
    """For other sandboxes to make room."""
    delete: float = 60
    build: float = 1800
    """For a snapshot to be built."""
