"""`make serve`: a Prefect server with its UI, all deployments, and a worker, until Ctrl-C."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from core.errors import EngineBenchError, InfrastructureError
from core.settings import Settings
from deployments.api import Api, served_api
from deployments.register import register
from deployments.worker import Worker


class Stopped(BaseException):
    """Ctrl-C or SIGTERM."""


def serve(settings: Settings) -> None:
    """Serve until stopped; what was started is stopped in the opposite order, the server only if it was started here.

    Raises:
        EngineBenchError: the server, the registration or the worker failed.
    """
    with stopping_on_signals(), served_api(settings, say) as api:
        say("Registering the deployments")
        register(api)
        with working(api) as worker:
            say(_address(api))
            code = worker.wait()
        raise InfrastructureError(f"The worker has ended with exit code {code}; what it said is above.")


@contextmanager
def working(api: Api) -> Iterator[Worker]:
    worker = Worker(api.environment())
    try:
        yield worker
    finally:
        if running := worker.runs():
            say(f"Stopping {len(running)} flow run(s); their sandboxes are cleaned up first")
        worker.stop()


@contextmanager
def stopping_on_signals() -> Iterator[None]:
    """Turn the first Ctrl-C or SIGTERM into the end of the block. Further ones can't cut its cleanup short."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: say("Still stopping"))
        raise Stopped

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    try:
        yield
    except Stopped:
        say("Stopped")


def say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _address(api: Api) -> str:
    lines = [
        "",
        f"engine-bench is in service: {api.ui_url}/deployments",
        "Run it from there, or from another terminal:",
        *([f"  export PREFECT_API_URL={api.api_url}"] if api.local else []),
        "  prefect deployment run engine-bench/local --param seeds=5 --param agent=gold --watch",
        "Ctrl-C stops it.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    try:
        serve(Settings())
    except EngineBenchError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
