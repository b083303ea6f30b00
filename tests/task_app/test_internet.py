"""The proxy that leads jails to the internet, and nowhere else."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from task_app import internet
from task_app.isolation import Isolation, Jail, Level
from tests.task_app.grading_fixtures import open_directory

UID = 61_903


@pytest.fixture
def place() -> Iterator[Path]:
    with open_directory() as directory:
        (directory / "workspace").mkdir()
        yield directory


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111"])
def test_addresses_of_the_internet(address: str) -> None:
    assert internet.is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.1", "172.17.0.1", "192.168.1.1", "100.64.0.1", "224.0.0.1"),
        *("169.254.169.254", "255.255.255.255", "::1", "::", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "fe80::1%lo"),
        *("fd00::1", "ff02::1"),
    ],
)
def test_what_is_no_address_of_the_internet(address: str) -> None:
    assert not internet.is_public(address)


def test_no_address_of_this_machine_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one that all the world can reach: what listens there listens for others."""
    found = [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family in (socket.AF_INET, socket.AF_INET6)
    ]
    assert "127.0.0.1" in found
    assert [address for address in found if internet.is_public(address)] == []
    monkeypatch.setattr("ipaddress.IPv4Address.is_global", property(lambda _: True))
    assert not internet.is_public("127.0.0.1")
    assert internet.is_public("1.1.1.1")


@pytest.mark.parametrize(
    ("request_line", "says"),
    [
        ("GET http://127.0.0.1:{port}/a?b=1 HTTP/1.1", "GET /a?b=1 HTTP/1.1"),
        ("CONNECT 127.0.0.1:{port} HTTP/1.1", "through the tunnel"),
    ],
)
async def test_a_jail_gets_through_to_a_public_address(
    place: Path, monkeypatch: pytest.MonkeyPatch, request_line: str, says: str
) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"heard: " + await reader.readline())
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        line = request_line.format(port=server.sockets[0].getsockname()[1])
        assert "403 Forbidden" in await ask(place, line)
        monkeypatch.setattr(internet, "is_public", lambda address: True)
        assert f"heard: {says}" in await ask(place, line)


@pytest.mark.parametrize(
    ("request_line", "says"),
    [
        ("CONNECT localhost:22 HTTP/1.1", "403 Forbidden"),
        ("GET http://169.254.169.254/latest HTTP/1.1", "403 Forbidden"),
        ("CONNECT 2130706433:22 HTTP/1.1", "403 Forbidden"),
        ("GET /nowhere HTTP/1.1", "400 Bad Request"),
        ("CONNECT a:b:c HTTP/1.1", "400 Bad Request"),
        ("CONNECT no-such-name.invalid:443 HTTP/1.1", "502 Bad Gateway"),
    ],
)
async def test_what_can_not_be_reached_is_refused(place: Path, request_line: str, says: str) -> None:
    assert says in await ask(place, request_line)


async def ask(place: Path, request_line: str) -> str:
    """The answer that a jail gets which says something more at once, as if through a tunnel."""
    isolation = await Isolation.detect(place)
    if isolation.level is not Level.NAMESPACE:
        pytest.skip("this machine gives no namespaces")
    isolation.hand_over(place / "workspace", UID)
    jail = Jail(place / "workspace", uid=UID, network=True)
    script = (
        f"exec 3<>/dev/tcp/127.0.0.1/{internet.PORT}; printf '{request_line}\\r\\nHost: x\\r\\n\\r\\n' >&3; "
        "printf 'through the tunnel\\r\\n' >&3; cat <&3"
    )
    return (await isolation.run(jail, ["bash", "-c", script], timeout=20)).stdout
