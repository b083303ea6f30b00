"""Doors: the ports by which a jailed program reaches us, and through which it reaches nothing else.

A socket belongs to the network that it was made in, whoever holds it. So a jail that has no network but a loopback of
its own makes the listening socket in there and hands it out to us: what connects to it is answered from outside.
"""

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

_LAUNCHER = Path(__file__).with_name("jail_network.py")
_LOOPBACK = "127.0.0.1"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
"""Serves one connection, and closes it."""


class Door:
    """A port of the loopback that a jailed program sees. Connections wait until somebody accepts them.

    Used within a running event loop.
    """

    def __init__(self, port: int) -> None:
        """A port in a jail that has a network of its own: `listening` comes once the jail is started with this door."""
        self.port = port
        self.listening: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()

    @classmethod
    def on_this_machine(cls) -> "Door":
        """A free port of this machine's loopback, for a jail that shares it."""
        listening = socket.create_server((_LOOPBACK, 0))
        door = cls(listening.getsockname()[1])
        door.listening.set_result(listening)
        return door

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is accepted any more. Fine if it was never opened."""
        if self.listening.done() and not self.listening.cancelled():
            self.listening.result().close()
        self.listening.cancel()


class Entrance:
    """Gets the doors' sockets out of one jail."""

    def __init__(self, doors: Sequence[Door], ours: socket.socket, theirs: socket.socket) -> None:
        self._doors = doors
        self._ours = ours
        self._theirs = theirs

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the jail's first program must inherit."""
        return (self._theirs.fileno(),) if self._doors else ()

    @property
    def words(self) -> tuple[str, ...]:
        """The jail's first program; the rest of the command follows."""
        if not self._doors:
            return ()
        ports = (str(door.port) for door in self._doors)
        return (sys.executable, "-I", "-S", str(_LAUNCHER), str(self._theirs.fileno()), *ports, "--")

    def receive(self) -> None:
        """Open the doors; called once there is something to read."""
        asyncio.get_running_loop().remove_reader(self._ours)
        _, descriptors, _, _ = socket.recv_fds(self._ours, 1, len(self._doors))
        for door, descriptor in zip(self._doors, descriptors, strict=True):
            listening = socket.socket(fileno=descriptor)
            if door.listening.done():  # nobody waits any more
                listening.close()
            else:
                door.listening.set_result(listening)


@contextlib.contextmanager
def entrance(doors: Sequence[Door]) -> Iterator[Entrance]:
    """What opens these doors while a jail runs that begins with its words; nothing to do if there are none."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        opening = Entrance(doors, ours, theirs)
        loop = asyncio.get_running_loop()
        loop.add_reader(ours, opening.receive)
        try:
            yield opening
        finally:
            loop.remove_reader(ours)


@contextlib.asynccontextmanager
async def answered(door: Door, serve: Serve, limit: int, last_words: float = 0) -> AsyncIterator[None]:
    """Serve every connection that comes to a door, which may open later; at the end they are all gone.

    Args:
        limit: bytes that a reader looks ahead for a separator.
        last_words: seconds that connections have then to end by themselves.
    """
    connections: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    async def accept() -> None:
        server = await asyncio.start_server(connected, sock=await door.listening, limit=limit)
        await server.serve_forever()

    accepting = asyncio.create_task(accept())
    try:
        yield
    finally:
        if connections and last_words:
            await asyncio.wait(connections, timeout=last_words)
        for task in (accepting, *connections):
            task.cancel()
        await asyncio.wait((accepting, *connections))
    if not accepting.cancelled():
        accepting.result()
