"""The internet for a jail whose network is a loopback of its own: a proxy that leads to public addresses only.

So a jail with the internet still reaches no service of this machine, under whatever name or address. There may be one
that does what anybody asks: in a Daytona sandbox its daemon runs commands as root, without a key, and a local Prefect
server wants none either. Nor are private networks within reach, e.g. other sandboxes or a cloud's metadata service.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from task_app.doors import Door, answered
from task_app.http1 import HEAD_LIMIT, Head

PORT = 3128
"""Of the jail's loopback."""
_URL = f"http://127.0.0.1:{PORT}"
_LOCAL = "localhost,127.0.0.1,::1"
VARIABLES = {
    **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), _URL),
    **dict.fromkeys(("no_proxy", "NO_PROXY"), _LOCAL),
    "NODE_USE_ENV_PROXY": "1",
}
"""By which programs find the proxy."""

_CONNECT_TIMEOUT = 30.0
_CHUNK = 64 * 1024
_OF_THE_PROXY = ("proxy-", "connection", "keep-alive")
"""How headers begin that are meant for a proxy."""


class _Refused(Exception):
    """The answer is this status, e.g. `403 Forbidden`."""


@contextlib.asynccontextmanager
async def internet() -> AsyncIterator[Door]:
    """The door by which a jail finds the proxy; gone at the end, with all its connections."""
    with Door(PORT) as door:
        async with answered(door, _serve, HEAD_LIMIT):
            yield door


def is_public(address: str) -> bool:
    """Whether an IP address is one of the internet, and none of this machine's."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    return ip.is_global and not ip.is_multicast and not _is_ours(ip)


def _is_ours(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Addresses that can be bound are a machine's own; nobody notices that it was tried."""
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as tried:
            tried.bind((str(ip), 0))
    except OSError:
        return False
    return True


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection: a tunnel, or a single request."""
    try:
        head = await Head.read(reader)
        method, _, rest = head.line.partition(" ")
        target, _, version = rest.rpartition(" ")
        upstream = await _connect(f"//{target}" if method == "CONNECT" else target)
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            upstream[1].write(_for_the_server(head, f"{method} {_path(target)} {version}"))
        try:
            await asyncio.gather(_pump(reader, upstream[1]), _pump(upstream[0], writer))
        finally:
            upstream[1].close()
    except _Refused as refusal:
        writer.write(f"HTTP/1.1 {refusal}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
    except ConnectionError:  # either side may hang up at any time
        return
    finally:
        writer.close()


async def _connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
        if not host:
            raise ValueError("no host is named")
        async with asyncio.timeout(_CONNECT_TIMEOUT):
            return await _connect_to_any(await _public_addresses(host, port), port)
    except ValueError as error:
        raise _Refused("400 Bad Request") from error
    except (OSError, TimeoutError) as error:
        raise _Refused("502 Bad Gateway") from error


async def _public_addresses(host: str, port: int) -> list[str]:
    """What a name stands for. What is connected to is what was looked at: a second answer might be another one."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(address[0]) for _, _, _, _, address in found]
    public = [address for address in addresses if is_public(address)]
    if not public:
        raise _Refused("403 Forbidden")
    return public


async def _connect_to_any(addresses: list[str], port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises OSError, that of the last address, if there is no way to any."""
    *others, last = addresses
    for address in others:
        with contextlib.suppress(OSError):
            return await asyncio.open_connection(address, port)
    return await asyncio.open_connection(last, port)


def _path(target: str) -> str:
    parts = urlsplit(target)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _for_the_server(head: Head, line: str) -> bytes:
    """One request a connection: a next one could be for another server."""
    kept = [(name, value) for name, value in head.headers if not name.lower().startswith(_OF_THE_PROXY)]
    return Head(line, [*kept, ("Connection", "close")]).text()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except ConnectionError:
        writer.close()
