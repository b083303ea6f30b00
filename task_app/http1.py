"""As much of HTTP/1.1 as it takes to pass a request on without being fooled about where it ends (RFC 9112)."""

import asyncio
from dataclasses import dataclass

HEAD_LIMIT = 64 * 1024
"""Bytes of a head; a reader needs that limit."""
BODY_LIMIT = 64 * 1024 * 1024

Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Head:
    """First line and headers of a request or an answer."""

    line: str
    headers: Headers

    @classmethod
    async def read(cls, reader: asyncio.StreamReader) -> "Head":
        """Raises ConnectionError if the other side ends before that, or sends something else than HTTP/1."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise ConnectionError("the connection ended before a complete head had come") from error
        line, *rest = head.removesuffix("\r\n\r\n").split("\r\n")
        if any(end in part for part in (line, *rest) for end in "\r\n"):  # others might take it for a line's end
            raise ConnectionError("a line of the head has another line's end in it")
        pairs = (header.partition(":") for header in rest)
        return cls(line, [(name.strip(), value.strip()) for name, _, value in pairs])

    def text(self) -> bytes:
        lines = [self.line, *(f"{name}: {value}" for name, value in self.headers), "", ""]
        return "\r\n".join(lines).encode("latin-1")


async def read_body(reader: asyncio.StreamReader, headers: Headers) -> bytes:
    """A whole request body, empty if there is none. Raises ConnectionError if it is too long, or does not come."""
    given = [(name.lower(), value) for name, value in headers]
    lengths = {value for name, value in given if name == "content-length"}
    try:
        if ("transfer-encoding", "chunked") in given:
            return await _chunks(reader)
        return await reader.readexactly(_bounded(int(lengths.pop()))) if lengths else b""
    except (asyncio.IncompleteReadError, ValueError) as error:
        raise ConnectionError("the connection ended before a complete request had come") from error


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    """RFC 9112, 7.1. Raises ValueError for anything else."""
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        body += (await reader.readexactly(_bounded(len(body) + size) - len(body) + 2))[:-2]
    while await reader.readuntil(b"\r\n") != b"\r\n":
        continue
    return body


def _bounded(length: int) -> int:
    if not 0 <= length <= BODY_LIMIT:
        raise ValueError(f"{length} bytes")
    return length
