"""`python -m tests.agents.real.quarantine PYTEST-ARGUMENTS...`: runs the checks where there is no network but loopback.

There, every look-up of a name goes to an address of our own, where a test counts them. That takes root; without it the
checks run as they are, and the one about look-ups says that it can't tell.
"""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

MARK = "ENGINE_BENCH_QUARANTINED"
_SIOCSIFFLAGS, _IFF_UP_AND_RUNNING = 0x8914, 0x1 | 0x40


def main() -> None:
    module, arguments = "tests.agents.real.quarantine", sys.argv[1:]
    if arguments[:1] == ["--inside"]:
        _close_off()
        os.environ[MARK] = "1"
        arguments = arguments[1:]
    elif os.geteuid() == 0 and shutil.which("unshare"):
        inside = [sys.executable, "-m", module, "--inside", *arguments]
        os.execvp("unshare", ["unshare", "--net", "--mount", "--", *inside])
    os.execv(sys.executable, [sys.executable, "-m", "pytest", *arguments])


def _close_off() -> None:
    """In namespaces of our own: bring the loopback up, and ask it for names."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh14x", b"lo", _IFF_UP_AND_RUNNING)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, request)
    with tempfile.NamedTemporaryFile("w", prefix="resolv.conf-", delete=False) as file:
        file.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    os.chmod(file.name, 0o644)
    resolver = Path("/etc/resolv.conf").resolve()
    subprocess.run(["mount", "--bind", file.name, str(resolver)], check=True)


if __name__ == "__main__":
    main()
