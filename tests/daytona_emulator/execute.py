"""`python -m tests.daytona_emulator.execute COMMAND...`: run a command with the real SDK pointed at an emulator.

The emulator lives as long as the command. Exits with the command's exit code.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from .client import Emulator, emulator


def environment(emu: Emulator) -> dict[str, str]:
    """What a user would export for the real service."""
    return {"DAYTONA_API_KEY": emu.api_key, "DAYTONA_API_URL": emu.api_url, "DAYTONA_TARGET": "us"}


async def execute(command: Sequence[str]) -> int:
    """The command's exit code; signals that ask for the end are the command's to handle, so that it can clean up."""
    async with emulator() as emu:
        for limit in emu.limits:
            print(f"daytona emulator ({emu.isolation}): {limit}", file=sys.stderr)
        loop, asked_to_end = asyncio.get_running_loop(), asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, asked_to_end.set)
        # From a terminal the command gets it as well.
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        process = await asyncio.create_subprocess_exec(*command, env={**os.environ, **environment(emu)})
        passing_on = asyncio.create_task(_terminate_when(asked_to_end, process))
        code = await process.wait()
        passing_on.cancel()
        return code


async def _terminate_when(asked: asyncio.Event, process: asyncio.subprocess.Process) -> None:
    await asked.wait()
    process.terminate()


if __name__ == "__main__":
    if not sys.argv[1:]:
        sys.exit("usage: python -m tests.daytona_emulator.execute COMMAND [ARGUMENT...]")
    sys.exit(asyncio.run(execute(sys.argv[1:])))
