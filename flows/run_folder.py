"""`results/<run>`: what a run leaves on disk."""

from collections.abc import Sequence
from pathlib import Path

from core.redaction import redact
from evals.models import Artifact
from flows.result import ResultDocument


class RunFolder:
    """`results/<run>`: the result document, and each rollout's artifacts in a folder of its own."""

    def __init__(self, results: Path, name: str) -> None:
        self.path = results.absolute() / name
        self.name = name
        self.document = self.path / "result.json"

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
