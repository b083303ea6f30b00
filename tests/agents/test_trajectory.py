import json

import pytest
from pydantic import ValidationError

from task_app.agents.trajectory import LIMIT, ToolCall, Trajectory, Turn, Usage


def trajectory(*turns: Turn) -> Trajectory:
    return Trajectory(
        agent="a", model=None, prompt="p", turns=list(turns), usage=None, cost_usd=None, seconds=1, ending="done"
    )


def turn(text: str, result: str = "") -> Turn:
    call = ToolCall(id="1", name="bash", arguments={"command": ["ls", text]}, result=result, started=0)
    return Turn(started=0, text=text, tool_calls=[call])


def test_a_short_one_is_kept_as_it_is() -> None:
    original = trajectory(turn("hello", "é\x00\n"), turn("bye"))
    assert Trajectory.model_validate_json(original.bounded_json()) == original


def test_a_long_text_is_shortened_in_the_middle() -> None:
    written = trajectory(turn("hello", "begin" + "x" * 100_000 + "end")).bounded_json()
    result = json.loads(written)["turns"][0]["tool_calls"][0]["result"]
    assert result.startswith("begin")
    assert result.endswith("end")
    assert "characters left out" in result


@pytest.mark.parametrize(("turns", "size"), [(100, 30_000), (4_000, 600)])
def test_it_never_gets_too_long(turns: int, size: int) -> None:
    written = trajectory(*(turn(f"{n} " + "é" * size) for n in range(turns))).bounded_json()
    read = Trajectory.model_validate_json(written)
    assert len(written.encode()) <= LIMIT
    assert read.turns[0].text.startswith("0 ")
    assert read.turns[-1].text.startswith(f"{turns - 1} ")
    assert len(read.turns) + read.left_out == turns


def test_nothing_but_text_is_taken_for_text() -> None:
    with pytest.raises(ValidationError):
        turn("x").text = {"not": "text"}  # type: ignore[assignment]


def test_usage_adds_up() -> None:
    one = Usage(input_tokens=5, cached_input_tokens=2, output_tokens=3, reasoning_tokens=1)
    assert one + one == Usage(input_tokens=10, cached_input_tokens=4, output_tokens=6, reasoning_tokens=2)
    assert one.total == 8
