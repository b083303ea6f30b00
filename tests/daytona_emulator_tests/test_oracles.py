"""Everything that the emulator says, judged by Daytona's own client models and OpenAPI files."""

from __future__ import annotations

import pytest

from tests.daytona_emulator.journal import Entry
from tests.daytona_emulator.oracles import SPECS_VARIABLE, client_complaints, spec_complaints, specs_directory

SPECS = specs_directory()
needs_specs = pytest.mark.skipif(
    SPECS is None, reason=f"Daytona's OpenAPI files are not at hand; ${SPECS_VARIABLE} names their directory"
)


def entry(operation: str, response: object, plane: str = "api", status: int = 200, request: object = None) -> Entry:
    method, path = operation.split(" ")
    given = {"plane": plane, "method": method, "path": path, "status": status, "request": request}
    return Entry.model_validate({"at": "now", "headers": {}, "response": response, **given})


def test_client_understands_every_answer_of_a_whole_life(journal_of_a_life: list[Entry]) -> None:
    assert len(journal_of_a_life) > 40
    assert client_complaints(journal_of_a_life) == []


@needs_specs
def test_every_request_and_answer_of_a_whole_life_is_to_specification(journal_of_a_life: list[Entry]) -> None:
    assert SPECS
    assert spec_complaints(journal_of_a_life, SPECS) == []


def test_whole_life_uses_all_three_planes(journal_of_a_life: list[Entry]) -> None:
    assert {each.plane for each in journal_of_a_life} == {"api", "toolbox", "preview"}


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (entry("GET /sandbox/x", {"id": "x"}), "can't parse"),
        (entry("GET /sandbox/x/build-logs-url", {"url": "u", "colour": "green"}), "does not know"),
        (entry("GET /elsewhere", {}), "no model"),
        (entry("GET /sandbox/x", {"message": "gone"}, status=404), "without the error envelope"),
        (entry("POST /process/execute", {"exitCode": "0"}, plane="toolbox"), "can't parse"),
    ],
)
def test_client_oracle_complains(answer: Entry, complaint: str) -> None:
    complaints = client_complaints([answer])
    assert len(complaints) == 1
    assert complaint in complaints[0]


@needs_specs
@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (entry("GET /sandbox/x", {"id": "x"}), "is a required property"),
        (entry("GET /elsewhere", {}), "not in the specification"),
        (entry("POST /process/execute", None, plane="toolbox", request={"cwd": 3}), "request"),
        (entry("POST /process/execute", {"exitCode": "0", "result": ""}, plane="toolbox"), "is not of type"),
    ],
)
def test_spec_oracle_complains(answer: Entry, complaint: str) -> None:
    assert SPECS
    assert any(complaint in each for each in spec_complaints([answer], SPECS))
