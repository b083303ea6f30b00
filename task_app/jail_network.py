"""First program in a jail's own network, while the host's files are still there. Run as a script:

    python -I -S jail_network.py DESCRIPTOR PORT... -- COMMAND...

Brings the loopback up, listens on its ports, hands the sockets out through the Unix socket DESCRIPTOR, and becomes the
command, which is left none of them: see doors.py. The standard library is all it needs, so it starts in milliseconds.
"""

import fcntl
import os
import socket
import struct
import sys

_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1


def main(arguments: list[str]) -> None:
    at = arguments.index("--")
    descriptor, *ports = (int(word) for word in arguments[:at])
    command = arguments[at + 1 :]
    _raise_loopback()
    doors = [socket.create_server(("127.0.0.1", port)) for port in ports]
    with socket.socket(fileno=descriptor) as outside:
        socket.send_fds(outside, [b"."], [door.fileno() for door in doors])
    for door in doors:
        door.close()
    os.execv(command[0], command)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


if __name__ == "__main__":
    main(sys.argv[1:])
