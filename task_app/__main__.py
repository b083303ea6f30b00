"""`python -m task_app`: serves the task app on an address, or on a socket that the parent process bound."""

import argparse
import logging
import socket
import sys
from pathlib import Path

import uvicorn

from task_app.app import create_app
from task_app.errors import TaskAppError
from task_app.service import Service
from task_app.settings import read_env_file


class Server(uvicorn.Server):
    """Ends the rollouts before it waits for open requests, since some of these wait for a rollout."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._service.rollouts.close()
        await super().shutdown(sockets)


def main() -> None:
    """Serve until SIGTERM or SIGINT. Exits with 2 and one line on stderr if it can't start."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        app = create_app(read_env_file(arguments.env_file))
    except TaskAppError as error:
        sys.exit(_fail(str(error)))
    config = uvicorn.Config(
        app,
        host=arguments.host,
        port=arguments.port or 0,
        access_log=False,
        log_config=None,
        lifespan="on",
        timeout_graceful_shutdown=10,
    )
    # Not uvicorn's own `fd`, which takes every inherited socket for a Unix one.
    inherited = None if arguments.fd is None else [socket.socket(fileno=arguments.fd)]
    Server(config, app.state.service).run(sockets=inherited)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m task_app", description="Performs rollouts on one benchmark.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", type=int, help="port to listen on")
    where.add_argument("--fd", type=int, help="file descriptor of a bound socket to listen on")
    parser.add_argument(
        "--env-file", type=Path, required=True, help="lines of NAME=value, mode 0600; removed once it is read"
    )
    return parser.parse_args()


def _fail(message: str) -> int:
    print(f"task_app: {message}", file=sys.stderr)  # noqa: T201
    return 2


if __name__ == "__main__":
    main()
