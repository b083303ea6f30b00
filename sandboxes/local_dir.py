"""The directory of one local sandbox: where everything lies in it, and what is written down there."""

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import ConfigurationError, InfrastructureError
from sandboxes.base import TASK_APP_ENV_FILE, TASK_APP_LOG, SandboxNotFound, SandboxSpec
from sandboxes.bundle import Bundle, unpack
from sandboxes.health import with_log
from sandboxes.processes import ProcessId, stop_all

_LOCK_PATIENCE = 60.0
"""Seconds; no verb holds a lock for longer than stopping a stubborn task app takes."""

_LOG_WINDOW = 256 * 1024
"""Bytes at the end of the log that its last lines are looked for in."""


class Ownership(BaseModel):
    """Whose sandbox it is, and until when."""

    model_config = ConfigDict(frozen=True)

    spec: SandboxSpec
    owner: ProcessId
    """The process that runs the flow."""
    created_at: float
    """Seconds since the epoch, as `expires_at`."""
    expires_at: float

    @property
    def abandoned(self) -> bool:
        return self.owner.find() is None or self.expires_at < time.time()


class Server(BaseModel):
    """The task app that was started last."""

    model_config = ConfigDict(frozen=True)

    process: ProcessId
    port: int
    digest: str | None
    """Of the bundle that it was started from."""


_Record = TypeVar("_Record", bound=BaseModel)


class SandboxDir:
    """Paths, records, and the slow file work of one sandbox. Everything here blocks."""

    def __init__(self, root: Path, name: str) -> None:
        self.name = name
        self.path = root / name
        self.app = self.path / "app"
        # In the unpacked bundle itself, so that the two can't come apart.
        self._digest = self.app / ".bundle-digest"
        self.requirements = self.app / "task_app" / "requirements.txt"
        self.venv = self.path / "venv"
        self.log = self.path / TASK_APP_LOG
        self.temporary = self.path / "tmp"
        """What the task app has for a while goes with the sandbox, also where it was killed."""
        self.env_file = self.path / TASK_APP_ENV_FILE
        self._lock = root / f"{name}.lock"
        self._owner = self.path / "owner.json"
        self._server = self.path / "server.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else, in any process, changes this sandbox meanwhile."""
        self._lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = FileLock(self._lock, timeout=_LOCK_PATIENCE)
        try:
            lock.acquire()
        except Timeout:
            raise InfrastructureError(
                f"Another process has been working on sandbox {self.name} for {_LOCK_PATIENCE:g} s. Wait until it ends."
            ) from None
        try:
            yield
        finally:
            if not self.path.exists():
                # While it is held: who waits for the removed file notices, and takes the next one.
                self._lock.unlink(missing_ok=True)
            lock.release()

    def ownership(self) -> Ownership | None:
        """None where there is no sandbox, or only the start of one."""
        return _read(self._owner, Ownership)

    def existing(self) -> Ownership:
        """Raises SandboxNotFound where there is no sandbox."""
        if (ownership := self.ownership()) is None:
            raise SandboxNotFound(self.name, backend="local")
        return ownership

    def own(self, ownership: Ownership) -> None:
        self.path.mkdir(mode=0o700, exist_ok=True)
        _write(self._owner, ownership)

    def uploaded(self) -> None:
        """Raises SandboxNotFound, or InfrastructureError where the bundle is not there yet."""
        self.existing()
        if not self.requirements.is_file():
            raise InfrastructureError(f"Sandbox {self.name} holds no task app yet: the upload has to come first.")

    def server(self) -> Server | None:
        """The task app that runs now."""
        server = _read(self._server, Server)
        return server if server and server.process.find() else None

    def record(self, server: Server) -> None:
        _write(self._server, server)

    def holds(self, digest: str) -> bool:
        """Whether the task app runs on this bundle, or could."""
        if server := self.server():
            return server.digest == digest
        return self._digest.is_file() and self._digest.read_text() == digest

    def use(self) -> str | None:
        """The digest of what is unpacked, None if that was used before.

        The task app may take away what its agents must not read, so that only a fresh upload makes it whole again.
        """
        digest = self._digest.read_text() if self._digest.is_file() else None
        self._digest.unlink(missing_ok=True)
        return digest

    def put(self, bundle: Bundle) -> None:
        """Have the bundle's content as `app/`, all of it or what was there before, and stop what ran on that."""
        fresh = Path(tempfile.mkdtemp(prefix="app.", dir=self.path))
        try:
            unpack(bundle, fresh)
            (fresh / self._digest.name).write_text(bundle.digest)
            fresh.chmod(0o755)
            self.stop()
            if self.app.exists():
                self.app.rename(f"{fresh}.old")
            fresh.rename(self.app)
        finally:
            for rest in self.path.glob("app.*"):
                remove_tree(rest)

    def running(self) -> Server:
        """Raises SandboxNotFound, or InfrastructureError where no task app runs."""
        self.existing()
        if server := self.server():
            return server
        self.forget_keys()
        raise InfrastructureError(with_log(f"The task app of sandbox {self.name} does not run.", self.tail(50)))

    def forget_keys(self) -> None:
        """Remove what a task app did not live to read."""
        self.env_file.unlink(missing_ok=True)

    def tail(self, lines: int) -> str:
        """The last lines of the task app's log."""
        if lines <= 0 or not self.log.is_file():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_WINDOW))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-lines:])

    def stop(self) -> None:
        """End every process of this sandbox."""
        ownership, server = self.ownership(), _read(self._server, Server)
        stop_all(self.path, server.process if server else None, ownership.created_at if ownership else 0.0)
        self._server.unlink(missing_ok=True)
        self.forget_keys()

    def remove(self) -> None:
        """End every process and remove the directory; fine if there is none."""
        if not self.path.exists():
            return
        self.stop()
        try:
            # The record goes last: who comes after a crash in here still sees whose sandbox this was.
            for path in self.path.iterdir():
                if path != self._owner:
                    remove_tree(path)
            remove_tree(self.path)
        except OSError as error:
            raise InfrastructureError(
                f"The directory of sandbox {self.name} can't be removed ({error}). Remove {self.path} by hand."
            ) from error


def remove_tree(path: Path) -> None:
    """Remove a file or a folder, also where builds left folders read-only."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    try:
        shutil.rmtree(path)
    except PermissionError:
        path.chmod(stat.S_IRWXU)
        for folder, subfolders, _ in os.walk(path):
            for subfolder in subfolders:
                if not (inner := Path(folder, subfolder)).is_symlink():
                    inner.chmod(stat.S_IRWXU)
        shutil.rmtree(path)


def _read(path: Path, kind: type[_Record]) -> _Record | None:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _write(path: Path, record: BaseModel) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(record.model_dump_json(indent=2))
    draft.replace(path)


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn the disk's own errors into ours."""
    try:
        yield
    except PermissionError as error:
        raise ConfigurationError(
            f"{what}: {error.strerror} ({error.filename}). ENGINE_BENCH_CACHE_DIR names another place for sandboxes."
        ) from error
    except OSError as error:
        raise InfrastructureError(f"{what}: {error}. Is the disk full, or the machine short of processes?") from error
