"""What the command line's exit codes say."""

OK = 0
"""Every rollout was scored, however low."""
FAILED = 1
"""A step failed, or a rollout has no score."""
USAGE = 2
"""The command line itself is wrong; nothing was run."""
BELOW_MINIMUM = 3
"""Every rollout was scored, but the mean is below `--min-reward`."""
INTERRUPTED = 130
"""Ctrl-C."""
TERMINATED = 143
"""SIGTERM."""
