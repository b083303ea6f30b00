"""What a dishonest agent may try beyond its card: each attack runs in a real rollout, and gains nothing by it.

`test_attacks.py` has what a dishonest card may try.
"""

import asyncio
import os
import re
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import httpx
import psutil
import pytest
import pytest_asyncio
from pydantic import SecretStr

from task_app.agents import AGENTS, AgentContext, AgentOutcome
from task_app.agents.gateway import opened
from task_app.agents.inference import Endpoint
from task_app.agents.workplace import Workplace
from task_app.benchmarks import Task
from task_app.contracts import PolicyConfig
from task_app.doors import Door
from task_app.grade import COMPILES
from task_app.grading import Grader
from task_app.isolation import Isolation, Jail, Level, Limits
from tests import synthetic
from tests.task_app.grading_fixtures import GOLD, open_directory, submission, warm_grader, with_scorch
from tests.task_app.serving import KEY, NONCE, ended, rollout, serving, settings

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROVIDER_KEY = "provider-key-of-the-installation"
SECRETS = ("* game.counters;", "fn strike_counts", "fn shield_breaks")
"""Of the reference solutions and the hidden tests; nothing that an agent is given has them."""


class Intruder:
    """Runs a script where agents run their programs, in place of a program of theirs."""

    name = "intruder"
    description = "attacks"
    uses_reference = False
    script = "true"

    async def run(self, task: Task, policy: PolicyConfig, context: AgentContext) -> AgentOutcome:
        place = await Workplace.open(task, context, [])
        await asyncio.to_thread(place.furnish, {})
        completed = await place.run(["bash", "-c", self.script], timeout=policy.timeout)
        return AgentOutcome(log=f"{completed.stdout}{completed.stderr}")


class Scene:
    """A task app on a sealed benchmark with an intruder among its agents."""

    def __init__(self, client: httpx.AsyncClient, intruder: Intruder, folder: Path) -> None:
        self.client = client
        self.folder = folder
        self.intruder = intruder
        self._rollouts = 0

    async def attack(self, script: str, internet: bool = False) -> str:
        """What the script said. Its rollout must earn no more than one that does nothing, and the next one no less."""
        self.intruder.script = script
        reply = await self._perform("intruder", internet)
        assert reply["reward_info"]["outcome_reward"] == COMPILES, reply
        assert (await self._perform("gold"))["reward_info"]["outcome_reward"] == 1.0, "the next rollout suffered"
        return next((kept["content"] for kept in reply["artifact"] if kept["name"] == "agent.log"), "")

    async def _perform(self, agent: str, internet: bool = False) -> dict[str, dict[str, float]]:
        self._rollouts += 1
        body = rollout(f"{agent}-{self._rollouts}", agent)
        body["policy"]["config"]["internet"] = internet
        reply = await self.client.post("/rollout", json=body)
        assert reply.status_code == 200, reply.text
        return dict(reply.json())


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
    intruder = Intruder()
    served = settings(
        home / "work",
        home / "clone",
        seal=True,
        slots=2,
        build_cache=home / "cache",
        agent_environment={"OPENAI_API_KEY": SecretStr(PROVIDER_KEY)},
    )
    async with serving(served, {"gold": AGENTS["gold"], "intruder": intruder}) as client:
        yield Scene(client, intruder, home)


async def test_solutions_and_hidden_tests_are_nowhere(scene: Scene) -> None:
    """Not in any file, process table, handle or memory map that can be read from where agents are."""
    words = " ".join(f"-e '{secret}'" for secret in SECRETS)
    said = await scene.attack(
        # the system and the toolchain are this machine's own, and read only
        f"grep -rlsF --exclude-dir=proc --exclude-dir=sys --exclude-dir=usr --exclude-dir=toolchain {words} / ; "
        "find / -name '*_eval.rs' -o -name solve.sh -o -name test.sh 2> /dev/null; echo searched"
    )
    assert said.split() == ["searched"]
    seen = await scene.attack("cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline /proc/[0-9]*/maps; ls -l /proc/[0-9]*/fd")
    assert "bash" in seen
    assert not [secret for secret in (*SECRETS, KEY, NONCE, PROVIDER_KEY, "uvicorn", "pytest") if secret in seen]


async def test_paths_of_the_host_lead_nowhere(scene: Scene) -> None:
    work = scene.folder / "work"
    said = await scene.attack(
        f"ls {scene.folder} {work} {work}/grading /proc/1/root/{work} /.host 2> /dev/null | grep -v :$; echo tried"
    )
    assert said.split() == ["tried"]


async def test_the_build_cache_can_be_neither_read_nor_poisoned(scene: Scene) -> None:
    cache = scene.folder / "cache"
    before = _content(cache)
    assert before
    said = await scene.attack(f"ls {cache}; mkdir -p {cache} && touch {cache}/forged; rm -rf {cache}; echo tried")
    assert "build-" not in said
    assert _content(cache) == before


async def test_cargo_finds_nothing_to_poison(scene: Scene) -> None:
    """The toolchain can't be written, and what cargo keeps in a HOME goes with that."""
    said = await scene.attack(
        'for folder in /toolchain "$(dirname "$(command -v cargo)")" /usr/lib; do '
        "touch $folder/forged; [ -e $folder/forged ] && echo WRITTEN; done; "
        "mkdir -p ~/.cargo && printf '[build]\\nrustc-wrapper = \"/bin/true\"\\n' > ~/.cargo/config.toml; "
        "mkdir -p .cargo && cp ~/.cargo/config.toml .cargo/; cargo check --offline; echo tried"
    )
    assert "WRITTEN" not in said
    assert "tried" in said


async def test_rewards_can_not_be_left_for_the_verifier(scene: Scene) -> None:
    said = await scene.attack(
        "for folder in /logs/verifier /tests; do mkdir -p $folder && echo WRITTEN; done; "
        "echo 1 > reward.txt; echo '{\"reward\": 1}' > reward.json; mkdir -p logs/verifier && cp reward.* logs/verifier"
    )
    assert "WRITTEN" not in said


async def test_the_task_apps_own_api_wants_a_key_that_is_nowhere(scene: Scene) -> None:
    """Where an agent was given the network; else there is no such port."""
    port = scene.client.base_url.port
    said = await scene.attack(
        f"""
        ask() {{ exec 3<>/dev/tcp/127.0.0.1/{port} && printf "$1" >&3 && head -n 1 <&3; exec 3<&-; }}
        body='{{"trace_correlation_id": "mine", "env": {{"seed": 0}}, "policy": {{"config": {{"agent": "gold"}}}}}}'
        head="POST /rollout HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\nContent-Length: ${{#body}}\\r\\n"
        ask "$head\\r\\n$body"
        for value in $(env | cut -d= -f2-) $(cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | cut -d= -f2-); do
            ask "${{head}}X-API-Key: $value\\r\\n\\r\\n$body"
        done
        ask "GET /task_info?seed=0 HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n"
        """,
        internet=True,
    )
    answers = [line for line in said.splitlines() if line.startswith("HTTP/1.1")]
    assert len(answers) > 2
    assert {answer.split()[1] for answer in answers} <= {"401", "400"}
    assert (await scene.client.get("/rollouts/mine")).status_code == 404


async def test_no_service_is_within_reach(scene: Scene) -> None:
    """Neither one of this machine's loopback, nor another rollout's gateway, nor a name or an address elsewhere."""
    model = Endpoint("http://127.0.0.1:9/v1", SecretStr(PROVIDER_KEY), "OPENAI_API_KEY", proxied=True)
    with socket.create_server(("0.0.0.0", 0)) as service:
        port = service.getsockname()[1]
        async with opened(model, 5, Door.on_this_machine()) as way:
            places = [f"127.0.0.1/{port}", f"127.0.0.1/{way.door.port}", f"127.0.0.1/{scene.client.base_url.port}"]
            places += [f"{address}/{port}" for address in _addresses()] + ["1.1.1.1/80", "example.com/80"]
            said = await scene.attack(
                f"for place in {' '.join(places)}; do timeout 5 bash -c 'exec 3<>/dev/tcp/$0' $place && echo REACHED; "
                "echo $? tried; done 2> /dev/null; cut -d: -f1 /proc/net/dev"
            )
    assert said.split()[: 2 * len(places)] == ["1", "tried"] * len(places)
    assert said.split()[-1] == "lo"


async def test_nothing_survives_the_rollout(scene: Scene) -> None:
    said = await scene.attack(
        "setsid nohup sh -c 'while :; do sleep 86421; done' > /dev/null 2>&1 & (trap '' TERM HUP; sleep 86421 &) & "
        "sleep 0.2; echo left"
    )
    assert "left" in said
    assert not _runs("86421")


async def test_another_rollouts_workspace_is_out_of_reach(scene: Scene) -> None:
    """The one works while the other looks for what it writes, by path and through its processes."""
    body = rollout("victim", "intruder", seed=1)
    scene.intruder.script = "echo the-victims-marker > marker.txt; sleep 86422"
    await scene.client.post("/rollout", json=body, headers={"Prefer": "respond-async"})
    while not _runs("86422"):  # noqa: ASYNC110 - it tells nobody that it has begun
        await asyncio.sleep(0.01)
    marker = next((scene.folder / "work/rollouts").glob("*/workspace/marker.txt"))
    said = await scene.attack(
        f"cat {marker} /proc/*/cwd/marker.txt /proc/*/root/{marker} 2> /dev/null; kill -9 -1 2> /dev/null; "
        "grep -rls the-victims-marker --exclude-dir={proc,sys,usr,toolchain} / ; echo looked"
    )
    assert said.split() == ["looked"]
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
        isolation.hand_over(workspace, 61_901)
        jail = Jail(workspace, uid=61_901, limits=Limits(processes=40))
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
    intruder = Intruder()
    async with serving(settings(home / "work", home / "clone", seal=True, slots=2), {"intruder": intruder}) as client:
        intruder.script = "echo the-victims-marker > marker.txt; echo ~; sleep 86425"
        await client.post("/rollout", json=rollout("victim", "intruder"), headers={"Prefer": "respond-async"})
        while not _runs("86425"):  # noqa: ASYNC110 - it tells nobody that it has begun
            await asyncio.sleep(0.01)
        intruder.script = (
            f"touch ~/mine && echo at home; cat {home}/work/rollouts/*/workspace/marker.txt "
            f"{home}/work/grading/slot-0/src/lib.rs /proc/{os.getpid()}/environ"
        )
        reply = (await client.post("/rollout", json=rollout("intruder", "intruder"))).json()
        await client.delete("/rollouts/victim")
    said = next(kept["content"] for kept in reply["artifact"] if kept["name"] == "agent.log")
    first, *refused = said.splitlines()
    assert first == "at home"
    assert len(refused) == 3
    assert all(line.endswith(("Permission denied", "No such file or directory")) for line in refused)
    assert reply["reward_info"]["outcome_reward"] == COMPILES
