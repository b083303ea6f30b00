"""The attacks of `test_attacks_more.py` in a sandbox of the Daytona emulator.

Its daemon runs as root whatever it is asked to by anybody in the sandbox, as Daytona's own does.
"""

import json
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr

from sandboxes import bundle
from sandboxes.base import Sandbox
from sandboxes.daytona.remote import PORT
from tests import synthetic
from tests.daytona_emulator import emulator
from tests.daytona_emulator.toolbox.ports import TOOLBOX_PORT
from tests.sandboxes.daytona_harness import DaytonaHarness, new_spec, skip_without_commands
from tests.task_app import attacks
from tests.task_app.attacks import Attack
from tests.task_app.serving import ROOT, ended

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

KEY, NONCE, PROVIDER_KEY = (secrets.token_hex(16) for _ in range(3))
READY = 300


class Scene(attacks.Scene):
    """One in a sandbox."""

    sandbox: Sandbox
    harness: DaytonaHarness

    async def outside(self, command: str) -> str:
        """What a command says in the sandbox, as root and outside of all jails."""
        return await self.harness.inside(self.sandbox, command)

    async def runs(self, mark: int) -> bool:
        """Whether any process of the sandbox sleeps for so long."""
        lines = "for process in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $process; echo; done 2> /dev/null"
        return (await self.outside(f"{lines} | grep -c '^sleep {mark}'; true")).strip() != "0"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    benchmark = tmp_path_factory.mktemp("attacked") / "clone"
    synthetic.write_classic(benchmark, instances=4, lines=200)
    packed = bundle.build({"task_app": ROOT / "task_app", "benchmark": benchmark})
    async with emulator() as emu, AsyncExitStack() as stack:
        skip_without_commands(emu)
        harness = DaytonaHarness(emu, stack)
        backend, spec = harness.open_daytona(), new_spec()
        sandbox = await backend.provision(spec)
        await backend.upload(sandbox, packed)
        await backend.install(sandbox, ("cargo", "rustc"))
        told = {
            "ENVIRONMENT_API_KEY": KEY,
            "ENGINE_BENCH_NONCE": NONCE,
            "ENGINE_BENCH_SEAL": "1",
            "ENGINE_BENCH_SLOTS": "2",
            "OPENAI_API_KEY": PROVIDER_KEY,
        }
        sandbox = await backend.start(sandbox, {name: SecretStr(value) for name, value in told.items()})
        await backend.health(sandbox, NONCE, READY)
        endpoint = await backend.endpoint(sandbox)
        headers = {name: value.get_secret_value() for name, value in endpoint.headers.items()} | {"X-API-Key": KEY}
        async with httpx.AsyncClient(base_url=endpoint.url, headers=headers, timeout=READY, trust_env=False) as client:
            if (await client.get("/info")).json()["isolation"] != "namespace":
                pytest.skip("sandboxes give no namespaces on this machine")
            scene = Scene(client)
            scene.sandbox, scene.harness = sandbox, harness
            yield scene
        await backend.cleanup(spec)
        assert await emu.sandboxes() == []


@pytest.mark.parametrize(
    "attack",
    [
        attacks.SEARCHING_FILES,
        attacks.SEARCHING_CARGO,
        attacks.peeping(KEY, NONCE, PROVIDER_KEY, "inside.py", "toolbox"),
        attacks.POISONING_CARGO,
        attacks.POISONING_ITS_CRATE,
        attacks.FORGING_REWARDS,
        Attack(
            "the sandbox's own files",
            "ls -A /app /run /opt/engine-bench /proc/1/root/app /.host 2> /dev/null | grep -v :$; echo tried",
            says="tried",
        ),
        Attack(
            "folders that can be written",
            "find / -type d -writable 2> /dev/null | grep -v -e ^/proc -e ^/workspace -e ^/home/agent | sort",
            says="/dev/shm /tmp",
        ),
    ],
    ids=lambda attack: attack.name,
)
async def test_gains_nothing(scene: Scene, attack: Attack) -> None:
    await scene.attack(attack)


@pytest.mark.parametrize("internet", [False, True])
async def test_the_daemon_of_the_sandbox_is_out_of_reach(scene: Scene, internet: bool) -> None:
    """It runs as root whatever is asked of it by whoever reaches it, as is seen from outside of the jail."""
    told = json.dumps(json.dumps({"command": "id -u"}))
    said = await scene.outside(
        f'python3 -c \'import urllib.request as u; print(u.urlopen(u.Request("http://127.0.0.1:{TOOLBOX_PORT}/process/execute",'
        f' data={told}.encode(), headers={{"Content-Type": "application/json"}})).read())\''
    )
    assert '"result":"0' in said.replace(" ", ""), said
    await scene.attack(attacks.calling_services((TOOLBOX_PORT, PORT), internet=internet))


async def test_the_task_apps_own_api_is_closed_to_agents(scene: Scene) -> None:
    await scene.attack(attacks.calling_the_task_app(PORT))
    assert (await scene.client.get("/rollouts/mine")).status_code == 404


async def test_another_rollouts_workspace_is_out_of_reach(scene: Scene) -> None:
    await scene.begin("victim", "echo the-victims-marker > marker.txt; sleep 86432", seed=1)
    while not await scene.runs(86432):
        assert (await scene.client.get("/rollouts/victim")).status_code == 202
    marker = (await scene.outside("ls /app/work/rollouts/*/workspace/marker.txt")).strip()
    await scene.attack(attacks.meddling(marker, "the-victims-marker"))
    assert await scene.runs(86432), "the victim was hit"
    await scene.client.delete("/rollouts/victim")
    assert (await ended(scene.client, "victim"))["success_status"] == "cancelled"


async def test_nothing_survives_the_rollout(scene: Scene) -> None:
    await scene.attack(attacks.surviving(86431))
    assert not await scene.runs(86431)


async def test_forking_for_ever_ends_with_the_rollout(scene: Scene) -> None:
    await scene.run("f() { sleep 86433 & f & f; }; f", timeout=2)
    assert not await scene.runs(86433)
    assert await scene.reward("gold") == 1.0


async def test_what_fills_the_disk_goes_with_the_rollout(scene: Scene) -> None:
    """As much as is bearable here; `test_disk.py` has where it ends."""
    filling = (
        "for place in . ~ /tmp; do head -c 64M /dev/zero > $place/filled; done; ls -s ./filled ~/filled /tmp/filled"
    )
    await scene.attack(Attack("the disk filled", filling, shows="65536 ./filled"))
    assert (await scene.outside("ls -A /app/work/rollouts; find / -xdev -name filled")).split() == []
