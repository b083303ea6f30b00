"""`engine-bench snapshot`, as a person would type it, against the emulator."""

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import SecretStr

from flows import exit_codes
from flows.credentials import BLOCK_NAME, DaytonaCredentials
from flows.server import ServerRecord
from sandboxes.daytona.images import PREFIX
from tests.daytona_emulator import Emulator, emulator
from tests.daytona_emulator.execute import environment

CONSOLE_SCRIPT = Path(sys.executable).with_name("engine-bench")


def typed(emu: Emulator | None, cwd: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own, with nothing of this one's settings."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    own = {"PREFECT_HOME": str(cwd / "prefect"), "ENGINE_BENCH_DATA_DIR": str(cwd / "data"), "COLUMNS": "200"}
    return subprocess.run(
        [CONSOLE_SCRIPT, "snapshot", *words],
        cwd=cwd,
        env=kept | own | (environment(emu) if emu else {}) | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
async def test_a_snapshot_is_built_listed_and_deleted(tmp_path: Path) -> None:
    async with emulator() as emu:
        built = typed(emu, tmp_path, "build", "--benchmark", "hello-world", "--agent", "gold", "--cpu", "3")
        assert built.returncode == 0, built.stderr
        name = built.stdout.split()[0]
        assert re.fullmatch(rf"{PREFIX}[0-9a-f]{{16}} is built\n", built.stdout)
        assert "inside.py install" in built.stderr
        again = typed(emu, tmp_path, "build", "--benchmark", "hello-world", "--agent", "gold", "--cpu", "3")
        assert again.stdout == f"{name} was there already\n"
        assert re.search(rf"{name}.*active.*3", typed(emu, tmp_path, "list").stdout)
        assert typed(emu, tmp_path, "delete", name).stdout == f"{name} is deleted\n"
        assert "There are none" in typed(emu, tmp_path, "list").stdout


def test_without_a_key_it_says_how_to_get_one_and_starts_no_server_to_look_for_it(tmp_path: Path) -> None:
    done = typed(None, tmp_path, "list")
    assert done.returncode == exit_codes.FAILED
    assert done.stderr.startswith("Error: DAYTONA_API_KEY environment variable required")
    assert not list(tmp_path.glob("prefect/*.db*"))


async def test_the_account_may_be_a_block_on_the_server_that_is_in_use(server: ServerRecord, tmp_path: Path) -> None:
    async with emulator() as emu:
        account = environment(emu)
        with temporary_settings({PREFECT_API_URL: server.api_url}):
            block = DaytonaCredentials(
                api_key=SecretStr(account["DAYTONA_API_KEY"]), api_url=account["DAYTONA_API_URL"]
            )
            await block.save(BLOCK_NAME)
            try:
                done = await asyncio.to_thread(typed, None, tmp_path, "list", PREFECT_API_URL=server.api_url)
            finally:
                await DaytonaCredentials.adelete(BLOCK_NAME)
        assert "There are none" in done.stdout, done.stderr
