"""What a jailed process can see and do, at each level that this machine offers."""

import asyncio
import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from task_app.doors import Door
from task_app.errors import InfrastructureFailure
from task_app.isolation import Isolation, Jail, Level, Limits
from task_app.jail_root import Bind
from task_app.processes import Completed
from tests.task_app.grading_fixtures import available_levels, open_directory

UID = 59_900


@pytest.fixture
def place() -> Iterator[Path]:
    with open_directory() as directory:
        (directory / "workspace").mkdir()
        yield directory


@pytest.fixture
async def namespaces(place: Path) -> Isolation:
    isolation = await Isolation.detect(place)
    if isolation.level is not Level.NAMESPACE:
        pytest.skip("this machine gives no namespaces")
    return isolation


@pytest.fixture(params=available_levels())
async def isolation(request: pytest.FixtureRequest, place: Path) -> Isolation:
    level: Level = request.param
    if level is Level.NAMESPACE and (await Isolation.detect(place)).level is not level:
        pytest.skip("this machine gives no namespaces")
    return Isolation(level)


def jail_in(place: Path, isolation: Isolation) -> Jail:
    isolation.hand_over(place / "workspace", UID)
    return Jail(place / "workspace", uid=UID)


async def shell(isolation: Isolation, jail: Jail, script: str, timeout: float = 30) -> Completed:
    return await isolation.run(jail, ["sh", "-c", script], timeout=timeout, grace=0.2)


async def test_detects_a_level_that_works(place: Path) -> None:
    isolation = await Isolation.detect(place)
    assert (await shell(isolation, jail_in(place, isolation), "echo fine")).stdout == "fine\n"
    assert os.listdir(place) == ["workspace"], "no probe is left"


async def test_runs_in_its_workspace_and_may_write_there(isolation: Isolation, place: Path) -> None:
    jail = jail_in(place, isolation)
    completed = await shell(isolation, jail, "pwd; echo kept >file; cat file")
    assert completed.stdout == f"{isolation.inside(jail, jail.workspace)}\nkept\n"
    assert (place / "workspace/file").read_text() == "kept\n"


async def test_has_a_home_and_an_environment_of_its_own(
    isolation: Isolation, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "secret")
    (place / "home").mkdir()
    isolation.hand_over(place / "home", UID)
    jail = replace(jail_in(place, isolation), home=place / "home", environment={"GIVEN": "yes"})
    completed = await shell(isolation, jail, "env; echo mine >$HOME/file; echo scratch >$TMPDIR/file; cat $TMPDIR/file")
    assert "secret" not in completed.stdout
    assert "GIVEN=yes" in completed.stdout
    assert completed.stdout.endswith("scratch\n")
    assert (place / "home/file").read_text() == "mine\n"


async def test_passes_exit_codes_and_signals_on(isolation: Isolation, place: Path) -> None:
    jail = jail_in(place, isolation)
    assert (await shell(isolation, jail, "exit 3")).exit_code == 3
    killed = await shell(isolation, jail, "kill -SEGV $$")
    assert (killed.exit_code, killed.signal) == (None, 11)
    assert killed.stderr == ""


async def test_limits_memory_and_file_size(isolation: Isolation, place: Path) -> None:
    limits = Limits(memory=256 << 20, file_size=1 << 20)
    jail = replace(jail_in(place, isolation), limits=limits)
    assert (await shell(isolation, jail, "head -c 900M /dev/zero | tail -c 800M | wc -c")).stdout.strip() != "838860800"
    assert (await shell(isolation, jail, "head -c 3M /dev/zero >big")).exit_code != 0
    assert (place / "workspace/big").stat().st_size <= 1 << 20


async def test_leaves_nothing_behind_when_the_time_is_up(isolation: Isolation, place: Path) -> None:
    jail = jail_in(place, isolation)
    completed = await shell(isolation, jail, "setsid sh -c 'exec sleep 7654' & sleep 7654", timeout=0.5)
    assert completed.timed_out
    assert not running_with("7654")


async def test_leaves_nothing_behind_when_cancelled(isolation: Isolation, place: Path) -> None:
    started = asyncio.Event()
    script = "setsid sh -c 'exec sleep 7655' & echo ready; sleep 7655"
    running = asyncio.create_task(
        isolation.run(
            jail_in(place, isolation), ["sh", "-c", script], timeout=60, on_output=lambda _stream, _chunk: started.set()
        )
    )
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not running_with("7655")


async def test_a_missing_program_is_the_infrastructures_fault(isolation: Isolation, place: Path) -> None:
    jail = jail_in(place, isolation)
    with pytest.raises(InfrastructureFailure, match="no-such-program"):
        await isolation.run(jail, ["no-such-program"], timeout=10)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_runs_as_an_unprivileged_user(place: Path) -> None:
    for level in (Level.NAMESPACE, Level.USER):
        isolation = Isolation(level)
        completed = await shell(
            isolation, jail_in(place, isolation), "id -u; id -G; grep -E 'Cap|NoNew' /proc/self/status"
        )
        assert completed.stdout.split()[:2] == [str(UID), str(UID)]
        assert set(completed.stdout.split()[3::2]) == {"0000000000000000", "1"}


class TestOwnRoot:
    """Level `namespace`."""

    async def test_sees_the_system_and_its_binds_alone(self, namespaces: Isolation, place: Path) -> None:
        (place / "secret").write_text("gold")
        (place / "tool").write_text("#!/bin/sh\necho tool\n")
        (place / "tool").chmod(0o755)
        jail = replace(jail_in(place, namespaces), binds=(Bind(place / "tool", Path("/opt/a tool/run")),))
        listing = (await shell(namespaces, jail, "ls -A /; cat " + str(place / "secret"))).stdout.split()
        assert {"root", "home", "var", "srv", "mnt", "sys", "run"}.isdisjoint(listing)
        assert "gold" not in listing
        assert (await shell(namespaces, jail, "'/opt/a tool/run'")).stdout == "tool\n"
        assert namespaces.inside(jail, place / "tool") == Path("/opt/a tool/run")
        with pytest.raises(ValueError, match="not in the jail"):
            namespaces.inside(jail, place / "secret")

    async def test_can_write_to_what_is_writable_alone(self, namespaces: Isolation, place: Path) -> None:
        isolation = namespaces
        (place / "open").mkdir()
        (place / "shut").mkdir()
        isolation.hand_over(place, UID)
        binds = (Bind(place / "open", Path("/open"), writable=True), Bind(place / "shut", Path("/shut")))
        jail = replace(jail_in(place, isolation), writable=False, binds=binds)
        script = (
            "for d in /workspace /shut /usr /etc / /open /tmp /dev/shm; do touch $d/file 2>/dev/null && echo $d; done"
        )
        assert (await shell(isolation, jail, script)).stdout.split() == ["/open", "/tmp", "/dev/shm"]

    async def test_cannot_undo_its_mounts(self, namespaces: Isolation, place: Path) -> None:
        jail = replace(jail_in(place, namespaces), writable=False)
        undo = "mount -o remount,rw,bind /workspace; umount /usr"
        script = f"unshare --user --map-root-user --mount sh -c '{undo}'; touch file"
        completed = await shell(namespaces, jail, script)
        assert completed.exit_code != 0
        assert list((place / "workspace").iterdir()) == []

    async def test_sees_its_own_processes_alone(self, namespaces: Isolation, place: Path) -> None:
        completed = await shell(namespaces, jail_in(place, namespaces), "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        assert "pytest" not in completed.stdout
        assert str(place) not in completed.stdout

    @pytest.mark.parametrize("network", [False, True])
    async def test_has_a_network_of_its_own(self, namespaces: Isolation, place: Path, network: bool) -> None:
        """And a way to the internet only if that is asked for."""
        jail = replace(jail_in(place, namespaces), network=network)
        script = "tail -n +3 /proc/net/dev | cut -d: -f1; bash -c '</dev/tcp/127.0.0.1/3128' 2>/dev/null && echo proxy"
        said = (await shell(namespaces, jail, f"{script}; echo $https_proxy")).stdout.split()
        assert said == (["lo", "proxy", "http://127.0.0.1:3128"] if network else ["lo"])

    async def test_reaches_us_by_its_doors(self, namespaces: Isolation, place: Path) -> None:
        """From a network of its own, which holds nothing else: none of our ports, no names, none of its descriptors."""
        jail = jail_in(place, namespaces)
        ours = socket.create_server(("127.0.0.1", 0))
        with ours, Door(4000) as one, Door(4001) as other:
            answering = [
                asyncio.create_task(answer(door, f"{text}\n")) for door, text in ((one, "one"), (other, "other"))
            ]
            ports = " ".join(str(port) for port in (4000, 4001, 4002, ours.getsockname()[1]))
            script = f"""for port in {ports}; do
                bash -c 'cat < /dev/tcp/127.0.0.1/$0' $port 2>/dev/null || echo closed
            done
            getent hosts example.com || echo no name
            ls /proc/self/fd"""
            completed = await namespaces.run(jail, ["sh", "-c", script], timeout=30, doors=[one, other])
            assert completed.stdout.splitlines()[:5] == ["one", "other", "closed", "closed", "no name"]
            assert completed.stdout.splitlines()[5:] == ["0", "1", "2", "3"]  # the last one is that of `ls` itself
            await asyncio.gather(*answering)

    async def test_a_door_that_can_not_be_is_the_infrastructures_fault(
        self, namespaces: Isolation, place: Path
    ) -> None:
        with Door(4000) as one, Door(4000) as same, pytest.raises(InfrastructureFailure, match="could not be set up"):
            await namespaces.run(jail_in(place, namespaces), ["true"], timeout=30, doors=[one, same])

    async def test_scratch_space_is_limited_and_private(self, namespaces: Isolation, place: Path) -> None:
        jail = replace(jail_in(place, namespaces), limits=Limits(scratch=1 << 20))
        assert (await shell(namespaces, jail, "head -c 3M /dev/zero >/tmp/big")).exit_code != 0
        assert (await shell(namespaces, jail, "ls -A /tmp /dev/shm")).stdout.split() == ["/dev/shm:", "/tmp:"]

    async def test_hides_directories_within_the_systems(self, place: Path, namespaces: Isolation) -> None:
        hiding = replace(namespaces, hidden=(Path("/usr/share"),))
        completed = await shell(hiding, jail_in(place, namespaces), "ls -A /usr/share")
        assert completed.stdout == ""

    async def test_forged_trouble_is_not_believed(self, namespaces: Isolation, place: Path) -> None:
        """A command can't pass its own end off as a broken jail."""
        script = "echo missing >&3; echo missing >/proc/1/fd/3; exit 127"
        assert (await shell(namespaces, jail_in(place, namespaces), script)).exit_code in (2, 127)

    async def test_a_bind_that_is_not_there_is_the_infrastructures_fault(
        self, namespaces: Isolation, place: Path
    ) -> None:
        jail = replace(jail_in(place, namespaces), binds=(Bind(place / "gone", Path("/gone")),))
        with pytest.raises(InfrastructureFailure, match="could not be set up"):
            await shell(namespaces, jail, "true")


async def answer(door: Door, text: str) -> None:
    """Accept one connection and say something."""
    loop = asyncio.get_running_loop()
    listening = await door.listening
    listening.setblocking(False)
    connection, _ = await loop.sock_accept(listening)
    with connection:
        await loop.sock_sendall(connection, text.encode())


def running_with(argument: str) -> bool:
    commands = (path / "cmdline" for path in Path("/proc").iterdir() if path.name.isdigit())
    return any(argument in command.read_text().split("\0") for command in commands if command.exists())
