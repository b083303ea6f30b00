"""The logs of what went wrong, as artifacts in the Prefect UI: nobody needs to reach the worker's disk to read them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from prefect.artifacts import acreate_markdown_artifact
from prefect.settings import get_current_settings

from flows.result import ResultDocument, RolloutRow
from flows.run_folder import RunFolder

MOST = 20
"""Rollouts whose logs are shown, the worst first; each is a call to the Prefect API."""

TAIL = 60
"""Lines of each log, the last ones: there compilers, tests and agents say what matters."""

_LOGS = ("compile.txt", "tests.txt", "agent.log")


class FailureLogs(NamedTuple):
    """The pages of the Prefect UI that show the logs of a run."""

    rollouts: Mapping[str, str]
    """By folder of the rollout, see `folder_of`."""
    sandboxes: Mapping[str, str]
    """By name of the log."""


def worst_first(result: ResultDocument) -> list[RolloutRow]:
    """Rollouts without a score, then by reward."""
    return sorted(result.rollouts, key=lambda row: -1 if row.reward is None else row.reward)


def folder_of(row: RolloutRow) -> str | None:
    """Where the rollout's files are, relative to the result document; None if it has left none."""
    return str(Path(row.artifacts[0]).parent) if row.artifacts else None


async def publish_failure_logs(result: ResultDocument, folder: RunFolder, key: str) -> FailureLogs:
    """Make an artifact of the ends of the logs of each rollout that is not solved, and of each sandbox that failed.

    Args:
        key: names benchmark and backend; artifacts of the same key are versions of each other.
    """
    failed = [name for row in worst_first(result) if row.reward != 1 and (name := folder_of(row))]
    rollouts = {}
    for name in failed[:MOST]:
        files = [folder.path / name / log for log in _LOGS]
        if text := _tails(files):
            rollouts[name] = await _publish(f"log-{key}-{Path(name).name}", f"{Path(name).name} of {result.run}", text)
    sandboxes = {}
    for log in sorted((folder.path / "logs").glob("*.log")):
        sandboxes[log.stem] = await _publish(f"log-{log.stem}", f"{log.stem} of {result.run}", _tails([log]))
    return FailureLogs(rollouts, sandboxes)


async def _publish(key: str, description: str, text: str) -> str:
    key = re.sub("[^a-z0-9]+", "-", key.lower()).strip("-")
    artifact = await acreate_markdown_artifact(markdown=text, key=key, description=description)
    # Prefect's own `url_for` knows no address of an artifact
    return f"{get_current_settings().ui_url}/artifacts/artifact/{artifact}"


def _tails(files: list[Path]) -> str:
    parts = []
    for file in files:
        if not file.exists():
            continue
        lines = file.read_text(errors="replace").splitlines()
        last = "\n".join(f"    {line}" for line in lines[-TAIL:])
        which = f"the last {TAIL} of {len(lines)} lines of" if len(lines) > TAIL else "all of"
        parts.append(f"## {file.name}\n\nHere is {which} `{file}`:\n\n{last}\n")
    return "\n".join(parts)
