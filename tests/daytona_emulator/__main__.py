"""`python -m tests.daytona_emulator`: run the emulator until it is stopped, or with a key that you choose.

The first line on standard output is a JSON object: `api_url`, `isolation` and `limits`, or
`isolation_refused`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
from typing import Annotated

from cyclopts import App, Parameter

from .isolation import IsolationUnavailable, choose, run_directory
from .settings import Settings

cli = App(name="python -m tests.daytona_emulator", help="A stand-in for Daytona's API, for tests on this machine.")


@cli.default
def run(
    *,
    settings: Annotated[Settings, Parameter(name="*")] = Settings(),  # noqa: B008 - frozen
    until_stdin_closes: bool = False,
) -> None:
    """Serve on 127.0.0.1 until SIGTERM or Ctrl-C.

    Parameters
    ----------
    until_stdin_closes
        Also stop when standard input ends, so that the emulator goes with the process that started it.
    """
    logging.basicConfig(level=logging.WARNING, format="daytona emulator: %(message)s")
    try:
        isolation = choose(settings.isolation)
        directory = run_directory(isolation)
    except IsolationUnavailable as error:
        reason = f"isolation {settings.isolation!r} does not work here: {error}"
        print(json.dumps({"isolation_refused": reason}))
        sys.exit(f"daytona emulator: {reason}")
    with directory as path, socket.create_server(("127.0.0.1", settings.port)) as listener:
        # Imported late: a user namespace can only be entered while the process has a single thread.
        from .server import serve  # noqa: PLC0415

        base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        announcement = {"api_url": f"{base_url}/api", "isolation": isolation.name, "limits": isolation.limits}
        asyncio.run(serve(settings, base_url, isolation, path, listener, json.dumps(announcement), until_stdin_closes))


if __name__ == "__main__":
    cli()
