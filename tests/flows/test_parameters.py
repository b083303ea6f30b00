"""The one model of parameters is what Prefect's Run form and the command line show."""

import inspect

import pytest
from pydantic import ValidationError

from flows.engine_bench import engine_bench
from flows.parameters import Parameters


@pytest.fixture(scope="module")
def form() -> dict[str, dict[str, object]]:
    return engine_bench.parameters.model_dump()["properties"]  # type: ignore[no-any-return]


def test_the_form_has_each_parameter_in_order(form: dict[str, dict[str, object]]) -> None:
    by_position = sorted(form, key=lambda name: form[name]["position"])  # type: ignore[arg-type,return-value]
    assert by_position == list(Parameters.model_fields)


@pytest.mark.parametrize("name", Parameters.model_fields)
def test_each_parameter_is_described_and_has_a_default(form: dict[str, dict[str, object]], name: str) -> None:
    field = Parameters.model_fields[name]
    assert form[name]["description"] == field.description
    assert form[name]["default"] == field.default
    assert "anyOf" not in form[name], "an optional field is drawn as tabs"


@pytest.mark.parametrize("name", ["seeds", "timeout", "attempts", "concurrency", "sandboxes", "port"])
def test_numbers_are_bounded(form: dict[str, dict[str, object]], name: str) -> None:
    assert {"minimum", "maximum"} <= form[name].keys()


@pytest.mark.parametrize("name", ["backend", "benchmark", "agent"])
def test_choices_are_drop_downs(form: dict[str, dict[str, object]], name: str) -> None:
    assert form[name]["enum"]


def test_the_flow_takes_them_flat() -> None:
    assert list(inspect.signature(engine_bench.fn).parameters) == list(Parameters.model_fields)


@pytest.mark.parametrize(
    "wrong",
    [
        {"seeds": -1},
        {"timeout": 0},
        {"port": 70_000},
        {"backend": "aws"},
        {"agent": "nobody"},
        {"task_app_url": "ftp://x"},
        {"task_app_url": "localhost:8000"},
        {"nonsense": 1},
    ],
)
def test_what_is_out_of_bounds_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Parameters.model_validate(wrong)
