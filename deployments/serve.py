"""`make serve`: a Prefect server with its UI, all deployments, and a worker, until Ctrl-C."""

import os
import sys
from pathlib import Path

from core.errors import EngineBenchError
from core.settings import Settings
from deployments.api import served_api
from deployments.register import register
from deployments.stopping import say, until_stopped
from deployments.worker import working
from flows.api import Api


def serve(settings: Settings) -> None:
    """Serve until stopped; what was started is stopped in the opposite order, the server only if it was started here.

    Raises:
        EngineBenchError: the server, the registration or the worker failed.
    """
    with until_stopped(), served_api(settings, say) as api:
        say("Registering the deployments")
        register(api)
        with working(api) as worker:
            say(_address(api))
            worker.wait()


def _address(api: Api) -> str:
    lines = [
        "",
        f"engine-bench is in service: {api.ui_url}/deployments",
        "Run it from there, or from another terminal:",
        *([f"  export PREFECT_API_URL={api.api_url}"] if api.local else []),
        f"  {_prefect()} deployment run engine-bench/local --param seeds=5 --param agent=gold --watch",
        "Ctrl-C stops it.",
        "",
    ]
    return "\n".join(lines)


def _prefect() -> str:
    """Prefect's command as it can be typed in the folder that this was started from."""
    return os.path.relpath(Path(sys.executable).with_name("prefect"))


def main() -> None:
    try:
        serve(Settings())
    except EngineBenchError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
