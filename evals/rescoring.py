"""What an earlier run has kept of its rollouts, to be graded again."""

from collections.abc import Iterable
from pathlib import PurePosixPath
from typing import NamedTuple

from evals.models import Artifact, Row
from evals.store import Store

FINAL = "final"
"""Stem of the artifact that holds an agent's final code, whole."""


class Former(NamedTuple):
    """A scored rollout of an earlier run."""

    row: Row
    code: str | None
    """What its agent left. Where that is None, the score stands as it is."""


async def former_rollout(store: Store, run_id: str, seed: int) -> Former | None:
    """The scored rollout of a run at this seed, None if there is none."""
    row = next((row for row in await store.rows(run_id, [seed]) if row.reward is not None), None)
    return Former(row, final_code(await store.artifacts(row.correlation_id))) if row else None


def final_code(artifacts: Iterable[Artifact]) -> str | None:
    """What a rollout's agent left in the file to write, None where that was nothing, or was not kept."""
    return next((kept.content for kept in artifacts if PurePosixPath(kept.name).stem == FINAL), None)
