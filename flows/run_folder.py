"""`results/<run>`: what a run leaves on disk."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from core.errors import ConfigurationError
from core.redaction import redact
from evals.models import Artifact
from flows.result import ResultDocument


def short_id(flow_run_id: str) -> str:
    """What tells a flow run's folder from others: its id's end, since ids of scheduled runs begin with the time."""
    return flow_run_id[-8:]


class RunFolder:
    """`results/<run>`: the result document, and each rollout's artifacts in a folder of its own."""

    def __init__(self, results: Path, name: str) -> None:
        self.path = results.absolute() / name
        self.name = name
        self.document = self.path / "result.json"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, no other process of this machine works on the run. A process that dies lets go, however it dies.

        Raises:
            ConfigurationError: another one does, or the folder can't be made.
        """
        lock = FileLock(self.path / ".lock", timeout=0)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise ConfigurationError(
                f"Run {self.name} still goes on in another process. Wait for its end, or stop it; then resume it."
            ) from None
        except OSError as error:
            raise ConfigurationError(
                f"The folder {self.path} can't be written: {error.strerror}. "
                "Make it writable, or name another place in ENGINE_BENCH_RESULTS_DIR."
            ) from error
        try:
            yield
        finally:
            lock.release()

    def job_note(self, lane: int) -> Path:
        """Holds the id of the lane's eval job while it may still run, so that a retry can attach to it."""
        return self.path / "jobs" / f"lane-{lane}"

    def write_log(self, name: str, log: str) -> Path:
        """Keep a log of a sandbox; returns its path."""
        path = self.path / "logs" / f"{name}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(log)
        return path

    def write_artifacts(self, rollout: str, artifacts: Sequence[Artifact]) -> list[str]:
        """Write a rollout's artifacts; returns their paths relative to the document."""
        folder = self.path / "rollouts" / rollout
        for artifact in artifacts:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / artifact.name).write_text(redact(artifact.content))
        return [str((folder / artifact.name).relative_to(self.path)) for artifact in artifacts]

    def write_document(self, result: ResultDocument) -> None:
        """Replaces an earlier document in one step, so that a reader never sees half of one."""
        self.path.mkdir(parents=True, exist_ok=True)
        draft = self.document.with_suffix(".tmp")
        draft.write_text(redact(result.model_dump_json(indent=2)) + "\n")
        draft.replace(self.document)
