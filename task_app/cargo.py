"""One compile of a crate's unit tests, and what cargo said about it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from task_app.errors import InfrastructureFailure
from task_app.isolation import Isolation, Jail
from task_app.processes import Completed

COMMAND = ("cargo", "test", "--no-run", "--lib", "--offline", "--message-format=json")
_OUTPUT_LIMIT = 8 << 20


@dataclass(frozen=True)
class Build:
    """How a compile ended."""

    executable: str | None
    """The test binary's path in the jail; None if it does not compile."""
    output: str
    """The diagnostics as the compiler renders them, warnings before errors, then cargo's own lines."""
    first_error: str
    """One line, empty if there is none."""
    timed_out: bool
    duration: float
    """Seconds."""


async def build_tests(isolation: Isolation, jail: Jail, timeout: float) -> Build:
    """Compile the library with its unit tests.

    Raises:
        InfrastructureFailure: cargo is missing, or it or the compiler was killed from outside.
    """
    completed = await isolation.run(jail, COMMAND, timeout=timeout, output_limit=_OUTPUT_LIMIT, grace=1)
    if not completed.timed_out:
        _refuse_killed(completed)
    messages = list(_messages(completed.stdout))
    diagnostics = [message["message"] for message in messages if message.get("reason") == "compiler-message"]
    errors = [diagnostic for diagnostic in diagnostics if diagnostic["level"].startswith("error")]
    warnings = [diagnostic for diagnostic in diagnostics if diagnostic not in errors]
    rendered = "".join(diagnostic["rendered"] or "" for diagnostic in (*warnings, *errors))
    return Build(
        executable=_executable(messages) if completed.exit_code == 0 else None,
        output=rendered + completed.stderr,
        first_error=errors[0]["message"].partition("\n")[0] if errors else _last_line(completed.stderr),
        timed_out=completed.timed_out,
        duration=completed.duration,
    )


def _refuse_killed(completed: Completed) -> None:
    """Nobody but the system kills a compiler with KILL. What a submission makes the compiler say is not in stderr."""
    if completed.signal is not None or "(signal: 9" in completed.stderr:
        raise InfrastructureFailure(
            f"The compiler was killed from outside, most likely for lack of memory: {_last_line(completed.stderr)}"
        )


def _messages(stdout: str) -> Iterator[dict[str, Any]]:
    for line in stdout.splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def _executable(messages: list[dict[str, Any]]) -> str | None:
    return next((str(message["executable"]) for message in messages if message.get("executable")), None)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]
