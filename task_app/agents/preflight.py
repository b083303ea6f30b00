"""Runs the preflight scripts of context overrides: in the agent's jail, before it, and never with what is ours."""

from collections.abc import Mapping, Sequence

from pydantic import SecretStr

from task_app.agents.overrides import Overrides
from task_app.agents.secrecy import redacted
from task_app.agents.workplace import Workplace
from task_app.contracts import OverridePart

TIMEOUT = 60.0
"""Seconds."""
KEPT_OUTPUT = 10_000
"""Characters of what a script prints."""


async def run_scripts(overrides: Overrides, place: Workplace, environment: Mapping[str, str]) -> None:
    """Run each script without a network and without a key, and enter how it went."""
    for script, result in overrides.scripts:
        result.preflight_script = await _run(script, place, environment, overrides.secrets)


async def _run(
    script: str, place: Workplace, environment: Mapping[str, str], secrets: Sequence[SecretStr]
) -> OverridePart:
    if not script.startswith("#!/bin/bash"):
        return OverridePart.refused("validation", "A script must begin with #!/bin/bash.")
    ended = await place.run(["/bin/bash", "-s"], timeout=TIMEOUT, environment=environment, stdin=script, network=False)
    told = OverridePart(
        status="applied" if ended.exit_code == 0 else "failed",
        exit_code=ended.exit_code,
        stdout=redacted(ended.stdout, secrets)[-KEPT_OUTPUT:],
        stderr=redacted(ended.stderr, secrets)[-KEPT_OUTPUT:],
        duration_ms=round(ended.duration * 1000),
    )
    if ended.timed_out:
        told.error, told.error_type = f"The script ran longer than {TIMEOUT:.0f} s.", "timeout"
    elif ended.exit_code != 0:
        told.error, told.error_type = "The script failed.", "runtime"
    return told
