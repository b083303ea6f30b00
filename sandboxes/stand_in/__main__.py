"""`python -m task_app` of the conformance suite. The environment file names the nonce and how to behave."""

import argparse
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VERSION = Path(__file__).with_name("version.txt")
"""Lets a test tell two bundles apart."""

STUBBORN_CHILD = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


class Handler(BaseHTTPRequestHandler):
    """Answers `/health` as the contract says, and `/facts` with what the app can see of its own situation."""

    protocol_version = "HTTP/1.0"
    settings: dict[str, str]
    env_file: Path
    starting = 2
    """How often it still says `starting`, where it is to behave so."""

    def do_GET(self) -> None:
        if self.path not in {"/health", "/facts"}:
            self.send_error(404)
            return
        content = json.dumps(self._health() if self.path == "/health" else self._facts()).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _health(self) -> dict[str, str | None]:
        behaviour, nonce = self.settings["BEHAVIOUR"], self.settings["NONCE"]
        if behaviour == "fails":
            return {"status": "failed", "nonce": nonce, "detail": "the slots can't be warmed"}
        if behaviour == "never-ready":
            return {"status": "starting", "nonce": nonce, "detail": None}
        if behaviour == "is-slow" and Handler.starting:
            Handler.starting -= 1
            return {"status": "starting", "nonce": nonce, "detail": None}
        return {"status": "ok", "nonce": nonce, "detail": None}

    def _facts(self) -> dict[str, object]:
        return {
            "pid": os.getpid(),
            "directory": str(Path.cwd()),
            "python": sys.executable,
            "version": VERSION.read_text() if VERSION.exists() else None,
            "key_digest": hashlib.sha256(self.settings["KEY"].encode()).hexdigest(),
            "env_file_exists": self.env_file.exists(),
            "environment": dict(os.environ),
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--fd", type=int)
    parser.add_argument("--env-file", type=Path, required=True)
    arguments = parser.parse_args()
    if (mode := arguments.env_file.stat().st_mode & 0o777) != 0o600:
        sys.exit(f"the environment file has mode {mode:o}")
    lines = arguments.env_file.read_text().splitlines()
    arguments.env_file.unlink()
    Handler.settings = dict(line.split("=", 1) for line in lines)
    Handler.env_file = arguments.env_file
    misbehave(Handler.settings["BEHAVIOUR"])
    serve(arguments)


def misbehave(behaviour: str) -> None:
    """Do what has to be done before serving."""
    if behaviour == "dies":
        print(*(f"line {number}" for number in range(1, 101)), "the end is near", sep="\n", flush=True)  # noqa: T201
        sys.exit(3)
    if behaviour == "is-stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        leave_child(environment={}, directory="/")
    if behaviour == "leaves-children":
        leave_child(environment={}, directory=str(Path.cwd()))
        leave_child(environment=dict(os.environ), directory="/")


def leave_child(environment: dict[str, str], directory: str) -> None:
    """A process in a session of its own, as an agent's daemon would be, that ignores TERM."""
    # The last argument does nothing but show whose process it is.
    command = [sys.executable, "-c", STUBBORN_CHILD, str(Path.cwd())]
    subprocess.Popen(command, start_new_session=True, env=environment, cwd=directory)


def serve(arguments: argparse.Namespace) -> None:
    server = ThreadingHTTPServer((arguments.host, arguments.port), Handler, bind_and_activate=arguments.fd is None)
    if arguments.fd is not None:
        server.socket.close()
        server.socket = socket.socket(fileno=arguments.fd)
    server.serve_forever()


if __name__ == "__main__":
    main()
