"""The only way out of a sandbox: a forward proxy that the control plane runs on a unix socket.

A sandbox's network holds nothing but its own loopback. Programs inside find `HTTP_PROXY` and `HTTPS_PROXY` set to a
port that the toolbox daemon bridges to this socket, and so reach what the machine reaches: package indexes, model
providers. Names are resolved out here; inside there is no DNS. No other protocol gets out.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

MAX_HEAD = 65536


class Refused(Exception):
    """The proxy's answer is this status line's end, e.g. `502 Bad Gateway`."""


async def serve(path: Path) -> asyncio.Server:
    """Proxy what connects to the unix socket at `path`, until the server is closed."""
    return await asyncio.start_unix_server(_serve_one, str(path), limit=MAX_HEAD)


async def _serve_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        upstream_reader, upstream_writer = await _connect(head, writer)
    except Refused as refusal:
        writer.write(f"HTTP/1.1 {refusal}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        writer.close()
        return
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        writer.close()
        return
    await asyncio.gather(_pump(reader, upstream_writer), _pump(upstream_reader, writer))


async def _connect(head: bytes, writer: asyncio.StreamWriter) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    request_line, _, headers = head.partition(b"\r\n")
    try:
        method, target, _ = request_line.decode("ascii").split(" ")
        url = urlsplit(f"//{target}" if method == "CONNECT" else target)
        host, port = url.hostname, url.port or 80
    except ValueError as error:
        raise Refused("400 Bad Request") from error
    if not host:
        raise Refused("400 Bad Request")
    try:
        upstream = await asyncio.open_connection(host, port)
    except OSError as error:
        raise Refused("502 Bad Gateway") from error
    if method == "CONNECT":
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    else:
        upstream[1].write(_origin_form(method, url.path or "/", url.query, headers))
    return upstream


def _origin_form(method: str, path: str, query: str, headers: bytes) -> bytes:
    # One request a connection: the next one on it could be for another host.
    kept = [
        line
        for line in headers.split(b"\r\n")
        if line and not line.lower().startswith((b"proxy-", b"connection:", b"keep-alive:"))
    ]
    first = f"{method} {path}{'?' + query if query else ''} HTTP/1.1".encode()
    return b"\r\n".join([first, *kept, b"Connection: close", b"", b""])


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except (ConnectionError, OSError):
        writer.close()  # either end may hang up at any time
