"""Two judges of a journal that know nothing of the emulator: Daytona's Python client, and Daytona's OpenAPI files.

Both answer with complaints in plain words; an empty list is their blessing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import daytona_api_client as api_models
import daytona_toolbox_api_client as toolbox_models
import yaml  # type: ignore[import-untyped]
from jsonschema import Draft4Validator  # type: ignore[import-untyped]
from pydantic import ValidationError

from .isolation import CHECKOUT
from .journal import Entry

SPECS_VARIABLE = "DAYTONA_SPECS"
SPEC_FILES = {"api": "api.openapi.yaml", "toolbox": "toolbox.openapi.yaml"}
NEWER_THAN_SPECS = frozenset({"POST /sandbox/{}/ttl/{}"})
"""Operations that Daytona added after the release that the OpenAPI files describe (0.190)."""


class Model(Protocol):
    additional_properties: dict[str, Any]

    @classmethod
    def from_dict(cls, obj: dict[str, Any] | None) -> Any: ...


_SANDBOX, _SESSION = r"/sandbox/[^/]+", r"/process/session/[^/]+"
ANSWERS: Mapping[str, tuple[tuple[str, type[Model]], ...]] = {
    "api": (
        (r"GET /config", api_models.DaytonaConfiguration),
        (r"GET /sandbox", api_models.ListSandboxesResponse),
        (r"POST /sandbox", api_models.Sandbox),
        (rf"(GET|DELETE) {_SANDBOX}", api_models.Sandbox),
        (rf"POST {_SANDBOX}/(start|stop|(autostop|autoarchive|autodelete|ttl|public)/[^/]+)", api_models.Sandbox),
        (rf"PUT {_SANDBOX}/labels", api_models.SandboxLabels),
        (rf"GET {_SANDBOX}/toolbox-proxy-url", api_models.ToolboxProxyUrl),
        (rf"GET {_SANDBOX}/ports/\d+/preview-url", api_models.PortPreviewUrl),
        (rf"GET {_SANDBOX}/ports/\d+/signed-preview-url", api_models.SignedPortPreviewUrl),
        (r"GET /(sandbox|snapshots)/[^/]+/build-logs-url", api_models.Url),
        (r"GET /snapshots", api_models.PaginatedSnapshots),
        (r"(POST /snapshots|GET /snapshots/[^/]+|POST /snapshots/[^/]+/activate)", api_models.SnapshotDto),
    ),
    "toolbox": (
        (r"POST /process/execute", toolbox_models.ExecuteResponse),
        (rf"GET {_SESSION}", toolbox_models.Session),
        (rf"POST {_SESSION}/exec", toolbox_models.SessionExecuteResponse),
        (rf"GET {_SESSION}/command/[^/]+", toolbox_models.Command),
        (rf"GET {_SESSION}/command/[^/]+/logs", toolbox_models.SessionCommandLogsResponse),
        (r"POST /files/bulk-upload", toolbox_models.UploadFilesResponse),
        (r"POST /files/upload-v2", toolbox_models.UploadedFile),
        (r"GET /files/info", toolbox_models.FileInfo),
        (r"GET /user-home-dir", toolbox_models.UserHomeDirResponse),
        (r"GET /work-dir", toolbox_models.WorkDirResponse),
    ),
}
LISTS: Mapping[str, type[Model]] = {
    "GET /files": toolbox_models.FileInfo,
    "GET /process/session": toolbox_models.Session,
}
"""Toolbox operations that answer with an array of these."""

ERROR_ENVELOPE = {"path", "timestamp", "statusCode", "error", "message"}


def client_complaints(entries: Iterable[Entry]) -> list[str]:
    """What Daytona's Python client can't parse, or doesn't know, in the journal's answers."""
    return [complaint for entry in entries if entry.response is not None for complaint in _by_client(entry)]


def _by_client(entry: Entry) -> Iterator[str]:
    operation = f"{entry.method} {entry.path}"
    if entry.plane == "preview":
        return
    if entry.status is None or entry.status >= 400:
        yield from _about_error(operation, entry)
    elif entry.plane == "toolbox" and operation in LISTS:
        for item in entry.response:
            yield from _parsed_by(LISTS[operation], operation, item)
    else:
        model = next((model for pattern, model in ANSWERS[entry.plane] if re.fullmatch(pattern, operation)), None)
        if model is None:
            yield f"{operation}: no model is known for its answer"
        else:
            yield from _parsed_by(model, operation, entry.response)


def _about_error(operation: str, entry: Entry) -> Iterator[str]:
    if entry.response.get("source") == "DAYTONA_DAEMON":
        yield from _parsed_by(toolbox_models.ErrorResponse, operation, entry.response)
    elif "errors" not in entry.response and not entry.response.keys() >= ERROR_ENVELOPE:
        yield f"{operation}: {entry.status} without the error envelope: {entry.response}"


def _parsed_by(model: type[Model], operation: str, answer: Any) -> Iterator[str]:
    try:
        parsed: Model = model.from_dict(answer)
    except (ValidationError, TypeError, ValueError) as error:
        yield f"{operation}: {model.__name__} can't parse the answer: {error}"
        return
    if parsed.additional_properties:
        yield f"{operation}: {model.__name__} does not know {sorted(parsed.additional_properties)}"


def specs_directory() -> Path | None:
    """Where the OpenAPI files are: $DAYTONA_SPECS, or beside the checkout; None if they are not at hand."""
    directory = Path(os.environ.get(SPECS_VARIABLE, CHECKOUT.parent / "shared" / "specs" / "daytona"))
    return directory if all((directory / name).is_file() for name in SPEC_FILES.values()) else None


class Spec:
    """One OpenAPI 3.0 file."""

    def __init__(self, path: Path) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        self._document: dict[str, Any] = yaml.load(path.read_text(), Loader=loader)
        self._components = _nullable(self._document["components"])
        self._paths = [(_pattern(path), operations) for path, operations in self._document["paths"].items()]

    def complaints(self, entry: Entry) -> Iterator[str]:
        """About the request's and the answer's JSON."""
        operation = self._operation(entry)
        if operation is None:
            yield f"{entry.method} {entry.path}: not in the specification"
            return
        if entry.request is not None:
            yield from self._invalid(entry, "request", operation.get("requestBody", {}), entry.request)
        if entry.status is not None and entry.status < 300 and entry.response is not None:
            answers = operation["responses"]
            declared = answers.get(str(entry.status)) or next(answers[code] for code in answers if code.startswith("2"))
            yield from self._invalid(entry, "answer", declared, entry.response)

    def _operation(self, entry: Entry) -> dict[str, Any] | None:
        candidates = (operations for pattern, operations in self._paths if pattern.fullmatch(entry.path))
        found = (each[entry.method.lower()] for each in candidates if entry.method.lower() in each)
        return next(found, None)

    def _invalid(self, entry: Entry, what: str, declared: dict[str, Any], value: Any) -> Iterator[str]:
        schema = declared.get("content", {}).get("application/json", {}).get("schema")
        if schema is None:
            return
        validator = Draft4Validator({**_nullable(schema), "components": self._components})
        for error in validator.iter_errors(value):
            yield f"{entry.method} {entry.path}: {what}: {error.json_path}: {error.message}"


def spec_complaints(entries: Iterable[Entry], directory: Path) -> list[str]:
    """What the journal's requests and answers have against the OpenAPI files in the directory."""
    specs = {plane: Spec(directory / name) for plane, name in SPEC_FILES.items()}
    judged = (entry for entry in entries if entry.plane in specs and entry.method != "WEBSOCKET" and not _newer(entry))
    return [complaint for entry in judged for complaint in specs[entry.plane].complaints(entry)]


def _newer(entry: Entry) -> bool:
    operation = f"{entry.method} {entry.path}"
    return any(re.fullmatch(re.escape(each).replace(r"\{\}", "[^/]+"), operation) for each in NEWER_THAN_SPECS)


def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{[^}]+\\\}", "[^/]+", re.escape(template)))


def _nullable(schema: Any) -> Any:
    """OpenAPI 3.0's `nullable` in JSON Schema's own words."""
    if isinstance(schema, list):
        return [_nullable(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _nullable(value) for name, value in schema.items()}
    if plain.get("nullable") is True:
        return {"anyOf": [{"type": "null"}, {name: value for name, value in plain.items() if name != "nullable"}]}
    return plain
