"""The Daytona backend: a sandbox is a cloud machine, reached through Daytona's API and its toolbox.

backend.py        the verbs
provisioning.py   create, adopt, replace; a reaper behind every failed create
removal.py        delete, and what to do when that is refused
remote.py         one started sandbox: files up, commands run, the preview link
inside.py         what runs inside a sandbox: unpack, install, serve, watch
images.py         the image definition that a snapshot is built from
snapshots.py      snapshots: build once, reuse, list, delete
errors.py         what the SDK raises, in our words; which of it is worth another try
client.py         the SDK's client, from the settings
"""

from core.errors import ConfigurationError

try:
    import daytona as _sdk  # noqa: F401
except ImportError as error:
    raise ConfigurationError(
        "Daytona SDK not available: the `daytona` package can't be imported. "
        "Install what engine-bench needs with `make`, or `pip install 'daytona>=0.226.1,<0.227'`."
    ) from error

from sandboxes.daytona.backend import DaytonaBackend

__all__ = ["DaytonaBackend"]
