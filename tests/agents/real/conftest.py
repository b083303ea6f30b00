import os
import socket
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.agents import programs
from tests.agents.real.quarantine import MARK
from tests.scripted_model import ScriptedModel, serving

PLANTED = "a-secret-of-the-host-9c41"


@pytest.fixture(scope="session", autouse=True)
def secret_of_the_host() -> Iterator[None]:
    """What no agent may ever see."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", PLANTED)
        yield


@pytest.fixture(scope="session")
def installed() -> dict[str, str]:
    return programs.environment()


@pytest.fixture
async def model() -> AsyncIterator[ScriptedModel]:
    async with serving() as model:
        yield model


@pytest.fixture(scope="session", autouse=True)
def lookups() -> Iterator[list[bytes] | None]:
    """Every look-up of a name since the checks began; None where they are not closed off from the network."""
    if MARK not in os.environ:
        yield None
        return
    seen: list[bytes] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.bind(("127.0.0.1", 53))
        listener = threading.Thread(target=_listen, args=(resolver, seen), daemon=True)
        listener.start()
        yield seen
        resolver.sendto(b"", resolver.getsockname())
        listener.join()


def _listen(resolver: socket.socket, seen: list[bytes]) -> None:
    while question := resolver.recv(4096):
        seen.append(question)
