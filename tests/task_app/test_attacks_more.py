"""What a dishonest agent may try beyond its card: each attack runs in a real rollout, and gains nothing by it.

`test_attacks.py` has what a dishonest card may try, and `test_attacks_in_a_sandbox.py` the same in Daytona's sandboxes.
"""

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import psutil
import pytest
import pytest_asyncio
from pydantic import SecretStr

from task_app.agents.gateway import opened
from task_app.agents.inference import Endpoint
from task_app.doors import Door
from task_app.grading import Grader
from task_app.isolation import Isolation, Jail, Level, Limits
from tests import synthetic
from tests.task_app import attacks
from tests.task_app.attacks import Attack
from tests.task_app.grading_fixtures import GOLD, open_directory, submission, warm_grader, with_scorch
from tests.task_app.serving import KEY, NONCE, ended, serving, settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROVIDER_KEY = "provider-key-of-the-installation"


class Scene(attacks.Scene):
    """One on this machine."""

    folder: Path


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with open_directory() as directory:
        yield directory


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["classic", "harbor"])
async def scene(folder: Path, request: pytest.FixtureRequest) -> AsyncIterator[Scene]:
    if (await Isolation.detect(folder)).level is not Level.NAMESPACE:
        pytest.skip("this machine gives no namespaces")
    home = folder / request.param
    write = {"classic": synthetic.write_classic, "harbor": synthetic.write_harbor}[request.param]
    write(home / "clone", instances=4, lines=200)
    served = settings(
        home / "work",
        home / "clone",
        seal=True,
        slots=2,
        build_cache=home / "cache",
        agent_environment={"OPENAI_API_KEY": SecretStr(PROVIDER_KEY)},
    )
    async with serving(served) as client:
        scene = Scene(client)
        scene.folder = home
        yield scene


@pytest.mark.parametrize(
    "attack",
    [
        attacks.SEARCHING_FILES,
        attacks.SEARCHING_CARGO,
        attacks.peeping(KEY, NONCE, PROVIDER_KEY),
        attacks.POISONING_CARGO,
        attacks.POISONING_ITS_CRATE,
        attacks.FORGING_REWARDS,
    ],
    ids=lambda attack: attack.name,
)
async def test_gains_nothing(scene: Scene, attack: Attack) -> None:
    await scene.attack(attack)


async def test_paths_of_the_host_lead_nowhere(scene: Scene) -> None:
    work = scene.folder / "work"
    places = f"{scene.folder} {work} {work}/grading /proc/1/root/{work} /.host"
    script = f"ls {places} 2> /dev/null | grep -v :$; echo tried"
    await scene.attack(Attack("the host's paths", script, says="tried"))


async def test_the_build_cache_can_be_neither_read_nor_poisoned(scene: Scene) -> None:
    cache = scene.folder / "cache"
    before = _content(cache)
    assert before
    script = f"ls {cache}; mkdir -p {cache} && touch {cache}/forged; rm -rf {cache}; echo tried"
    await scene.attack(Attack("the build cache", script, shows="tried", hides=("build-",)))
    assert _content(cache) == before


async def test_the_task_apps_own_api_is_closed_to_agents(scene: Scene) -> None:
    assert scene.client.base_url.port
    await scene.attack(attacks.calling_the_task_app(scene.client.base_url.port))
    assert (await scene.client.get("/rollouts/mine")).status_code == 404


@pytest.mark.parametrize("internet", [False, True])
async def test_no_service_of_this_machine_is_within_reach(scene: Scene, internet: bool) -> None:
    """Neither one of its loopback, nor of its other addresses, nor another rollout's gateway."""
    model = Endpoint("http://127.0.0.1:9/v1", SecretStr(PROVIDER_KEY), "OPENAI_API_KEY", proxied=True)
    with socket.create_server(("0.0.0.0", 0)) as service:
        async with opened(model, 5, Door.on_this_machine()) as way:
            ports = (service.getsockname()[1], way.door.port, scene.client.base_url.port or 0)
            await scene.attack(attacks.calling_services(ports, _addresses(), internet=internet))


async def test_nothing_elsewhere_is_within_reach(scene: Scene) -> None:
    places = " ".join([*(f"{address}/80" for address in _addresses()), "1.1.1.1/80", "example.com/80"])
    script = (
        f"for place in {places}; do timeout 5 bash -c 'exec 3<>/dev/tcp/$0' $place && echo REACHED; done 2> /dev/null; "
        "tail -n +3 /proc/net/dev | cut -d: -f1"
    )
    await scene.attack(Attack("the network", script, says="lo"))


async def test_nothing_survives_the_rollout(scene: Scene) -> None:
    await scene.attack(attacks.surviving(86421))
    assert not _runs("86421")


async def test_another_rollouts_workspace_is_out_of_reach(scene: Scene) -> None:
    """The one works while the other looks for what it writes, by path and through its processes."""
    await scene.begin("victim", "echo the-victims-marker > marker.txt; sleep 86422", seed=1)
    while not _runs("86422"):  # noqa: ASYNC110 - it tells nobody that it has begun
        await asyncio.sleep(0.01)
    marker = next((scene.folder / "work/rollouts").glob("*/workspace/marker.txt"))
    await scene.attack(attacks.meddling(str(marker), "the-victims-marker"))
    assert _runs("86422"), "the victim was hit"
    await scene.client.delete("/rollouts/victim")
    assert (await ended(scene.client, "victim"))["success_status"] == "cancelled"


def _addresses() -> list[str]:
    """This machine's other addresses."""
    return [
        address.address
        for addresses in psutil.net_if_addrs().values()
        for address in addresses
        if address.family == socket.AF_INET and not address.address.startswith("127.")
    ]


def _content(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}


def _runs(argument: str) -> bool:
    """Whether any process of the machine has this argument."""
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and argument in (entry / "cmdline").read_text().split("\0"):
                return True
        except OSError:
            continue
    return False


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def limited() -> AsyncIterator[Grader]:
    async with warm_grader() as grader:
        if grader.isolation.level is not Level.NAMESPACE:
            pytest.skip("this machine gives no namespaces")
        yield grader


class TestResources:
    """One process that takes all it can get."""

    async def test_forking_for_ever(self, folder: Path) -> None:
        isolation = await Isolation.detect(folder)
        if isolation.level is Level.PROCESS:
            pytest.skip("this machine gives jails no user of their own")
        workspace = folder / "bomb"
        workspace.mkdir()
        isolation.hand_over(workspace, 59_901)
        jail = Jail(workspace, uid=59_901, limits=Limits(processes=40))
        bomb = "f() { sleep 86423 & f & f; }; f"
        completed = await isolation.run(jail, ["bash", "-c", bomb], timeout=2, output_limit=1 << 16, grace=0.1)
        assert completed.exit_code != 0
        assert not _runs("86423")

    async def test_a_test_process_that_forks_for_ever(self, limited: Grader) -> None:
        body = '    while std::process::Command::new("sleep").arg("86424").spawn().is_ok() {} 0'
        await limited.grade(submission(with_scorch(body)), enforce_rules=False)
        assert not _runs("86424")
        assert (await limited.grade(submission(GOLD))).reward == 1.0

    async def test_a_test_process_that_fills_the_disk(self, limited: Grader) -> None:
        body = """    let mut written = 0u64;
    for number in 0..64 {
        if std::fs::write(format!("/tmp/{number}"), vec![1u8; 1 << 20]).is_ok() { written += 1; }
        if std::fs::write(format!("/workspace/{number}"), vec![1u8; 1 << 20]).is_ok() { written += 1000; }
    }
    panic!("wrote {written}")"""
        grade = await limited.grade(submission(with_scorch(body)), enforce_rules=False)
        written = {int(number) for number in re.findall(r"wrote (\d+)", grade.test_output)}
        assert written
        assert max(written) < 20
        assert (await limited.grade(submission(GOLD))).reward == 1.0


async def test_where_agents_see_real_paths_slots_and_other_rollouts_are_closed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As root in a container without namespaces: agents are users of their own, and that has to be enough."""
    if os.geteuid() != 0:
        pytest.skip("only root has other users to work as")

    async def as_user(workspaces: Path, hidden: Sequence[Path] = ()) -> Isolation:
        return Isolation(Level.USER)

    monkeypatch.setattr(Isolation, "detect", as_user)
    home = folder / "as-user"
    synthetic.write_classic(home / "clone", instances=4, lines=200)
    async with serving(settings(home / "work", home / "clone", seal=True, slots=2)) as client:
        scene = attacks.Scene(client)
        await scene.begin("victim", "echo the-victims-marker > marker.txt; sleep 86425")
        while not _runs("86425"):  # noqa: ASYNC110 - it tells nobody that it has begun
            await asyncio.sleep(0.01)
        said = await scene.run(
            f"touch ~/mine && echo at home; cat {home}/work/rollouts/*/workspace/marker.txt "
            f"{home}/work/grading/slot-0/src/lib.rs /proc/{os.getpid()}/environ"
        )
        await client.delete("/rollouts/victim")
    first, *refused = said.splitlines()
    assert first == "at home"
    assert len(refused) == 3
    assert all(line.endswith(("Permission denied", "No such file or directory")) for line in refused)
