"""How long the backend waits for what."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """Seconds. Less than what the flow's steps allow, so that an error is explained and cleaned up after."""

    create: float = 480
    """For a sandbox to start, image build included."""
    quota: float = 300
    """For other sandboxes to make room."""
    call: float = 30
    """For a call that fails to succeed after all; a toolbox that was short of memory needs some time."""
    quota_pause: float = 10
    """Between two tries while the quota is exhausted."""
    delete: float = 60
    build: float = 1800
    """For a snapshot to be built."""
