"""The labels that every sandbox of ours carries: whose it is, and until when."""

from datetime import UTC, datetime, timedelta

from daytona import AsyncSandbox
from pydantic import AwareDatetime, TypeAdapter, ValidationError

from sandboxes.base import SandboxRecord, SandboxSpec

APP = {"app": "engine-bench"}

_TIME = TypeAdapter(AwareDatetime)


def labels_of(spec: SandboxSpec) -> dict[str, str]:
    """By which the sandboxes of this spec are found."""
    return {**APP, "flow_run_id": spec.run_id, "lane": str(spec.lane)}


def labels_for(spec: SandboxSpec) -> dict[str, str]:
    """What a new sandbox gets."""
    expires = datetime.now(UTC) + timedelta(seconds=spec.lifetime)
    return {**labels_of(spec), "expires_at": expires.isoformat(timespec="seconds")}


def is_ours(box: AsyncSandbox) -> bool:
    return APP.items() <= box.labels.items()


def is_of(box: AsyncSandbox, spec: SandboxSpec) -> bool:
    """Whether the spec's own flow run has made it."""
    return is_ours(box) and box.labels.get("flow_run_id") == spec.run_id


def record_of(box: AsyncSandbox) -> SandboxRecord | None:
    """None for what is not ours, and for what can't be read in full."""
    if not is_ours(box):
        return None
    try:
        spec = SandboxSpec.model_validate(
            {"name": box.name, "run_id": box.labels.get("flow_run_id"), "lane": box.labels.get("lane")}
        )
        return SandboxRecord(spec=spec, expires_at=_TIME.validate_python(box.labels.get("expires_at")))
    except ValidationError:
        return None
