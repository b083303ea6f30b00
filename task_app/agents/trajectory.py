"""What an agent did, in one format for all agents. docs/trajectory.md describes it for those who read the files."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FORMAT: Literal["engine-bench-trajectory/1"] = "engine-bench-trajectory/1"

LIMIT = 1024 * 1024
"""Bytes of a trajectory as JSON."""

_TEXT_LIMITS = (32 * 1024, 8 * 1024, 2 * 1024, 512)
"""Characters of a single text: the first of these with which the whole stays below `LIMIT`."""


class Usage(BaseModel):
    """Tokens."""

    input_tokens: int = 0
    """All that were sent, those read from a cache included."""
    cached_input_tokens: int = 0
    output_tokens: int = 0
    """All that were generated, reasoning included."""
    reasoning_tokens: int = 0

    @property
    def total(self) -> int:
        return self.input_tokens + self.output_tokens

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            cached_input_tokens=self.cached_input_tokens + other.cached_input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
        )


class ToolCall(BaseModel):
    model_config = ConfigDict(validate_assignment=True)

    id: str
    name: str
    """As the agent calls it."""
    arguments: dict[str, Any]
    result: str | None = None
    """None while it runs, and for one that was cut off."""
    failed: bool = False
    started: float
    ended: float | None = None
    """Both in seconds since the agent was started, as far as its output tells."""


class Turn(BaseModel):
    """One reply of the model, with what came of the tools that it called."""

    model_config = ConfigDict(validate_assignment=True)

    started: float
    """Seconds since the agent was started."""
    reasoning: str = ""
    text: str = ""
    tool_calls: list[ToolCall] = Field(default_factory=list)
    usage: Usage | None = None
    """None where the agent tells its usage in all only."""
    cost_usd: float | None = None

    def with_texts(self, change: Callable[[str], str]) -> "Turn":
        """The same turn, each of its texts changed."""
        return Turn.model_validate(_with_texts(self.model_dump(), change))


class Trajectory(BaseModel):
    format: Literal["engine-bench-trajectory/1"] = FORMAT
    agent: str
    model: str | None
    prompt: str
    turns: list[Turn]
    usage: Usage | None
    cost_usd: float | None
    """None where the agent does not know the model's price."""
    seconds: float
    """Wall time of the agent."""
    ending: str
    """How it ended, in one sentence."""
    left_out: int = 0
    """Turns dropped from the middle since the whole was too long."""

    def bounded_json(self) -> str:
        """As JSON of at most `LIMIT` bytes: long texts are shortened, and if need be turns left out."""
        for limit in _TEXT_LIMITS:
            text = self._with_texts_of(limit).model_dump_json(indent=1)
            if (size := len(text.encode())) <= LIMIT:
                return text
        return self._without_the_middle(0.9 * LIMIT / size).bounded_json()

    def _with_texts_of(self, limit: int) -> "Trajectory":
        return Trajectory.model_validate(_with_texts(self.model_dump(), partial(_shortened, limit=limit)))

    def _without_the_middle(self, kept: float) -> "Trajectory":
        """With about this share of the turns: the first and the last ones."""
        keep = int(len(self.turns) * kept / 2)
        turns = [*self.turns[:keep], *self.turns[len(self.turns) - keep :]]
        left_out = self.left_out + len(self.turns) - len(turns)
        return self.model_copy(update={"turns": turns, "left_out": left_out})


def _with_texts(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {name: _with_texts(one, change) for name, one in value.items()}
    if isinstance(value, list):
        return [_with_texts(one, change) for one in value]
    return value


def _shortened(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[{len(text) - 2 * half} characters left out]\n{text[-half:]}"


class Journal:
    """Collects turns while an agent works."""

    def __init__(self) -> None:
        self.turns: list[Turn] = []
        self.reply_id = ""
        """The provider's id of the last turn's reply, where the agent tells it."""
        self.usage: Usage | None = None
        self.cost_usd: float | None = None
        self.finished = False
        """Whether the agent said that it was done."""
        self.problem: Problem | None = None
        """What the agent gave up for."""
        self.retrying: Problem | None = None
        """Why the agent asks the model again; None once it got an answer."""

    def turn(self, at: float) -> Turn:
        """A new turn, begun `at` seconds after the start."""
        self.turns.append(Turn(started=at))
        return self.turns[-1]

    def call(self, id: str) -> ToolCall | None:
        return next((call for call in self._calls() if call.id == id), None)

    @property
    def tool_runs(self) -> bool:
        return any(call.ended is None for call in self._calls())

    def _calls(self) -> Iterator[ToolCall]:
        for turn in reversed(self.turns):
            yield from turn.tool_calls


class Problem(BaseModel):
    """Why the model did not answer, as the agent tells it."""

    message: str
    status: int | None = None
    """The provider's HTTP status; None if there was none."""
    code: str = ""
    """The provider's or the agent's own word for it, e.g. `insufficient_quota`."""
