"""What a scripted model does, turn by turn."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Say:
    text: str


@dataclass(frozen=True)
class Write:
    """Create or replace a file with the agent's own tool for it."""

    path: str
    content: str


@dataclass(frozen=True)
class Edit:
    """Replace a text that stands in a file once."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Read:
    path: str


@dataclass(frozen=True)
class Bash:
    command: str


@dataclass(frozen=True)
class Refuse:
    """Answer with an HTTP error; the first `times` requests of the turn only, if given."""

    status: int
    message: str = "refused by the script"
    code: str | None = None
    """Machine-readable reason, e.g. `insufficient_quota`; default: one that fits the status."""
    times: int | None = None


@dataclass(frozen=True)
class Silence:
    """Send the headers, then nothing until the client goes away."""


@dataclass(frozen=True)
class Cut:
    """Send half of the reply, then end the stream without its last event."""


Act = Say | Write | Edit | Read | Bash
Fault = Refuse | Silence | Cut


@dataclass(frozen=True)
class Usage:
    """Tokens of one reply."""

    input: int = 1000
    """Cached ones included."""
    cached: int = 200
    output: int = 50


@dataclass(frozen=True)
class Script:
    """One reply of the model for each turn; the last one is repeated. A fault must come first in its turn."""

    turns: Sequence[Sequence[Act | Fault]]
    usage: Usage = field(default_factory=Usage)
    key: str | None = None
    """Requests with another one are answered with 401."""
    aside: str = "Scripted"
    """The answer to requests that offer no tools, e.g. for a title. They don't move the script."""

    def turn(self, number: int) -> Sequence[Act | Fault]:
        return self.turns[min(number, len(self.turns) - 1)]
