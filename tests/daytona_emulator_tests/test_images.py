"""What the emulator makes of a Dockerfile."""

from __future__ import annotations

import pytest
from daytona import Image

from tests.daytona_emulator.errors import ApiError
from tests.daytona_emulator.images import SKIPPED, Dockerfile


def test_steps_know_the_directory_that_they_run_in() -> None:
    image = Image.base("python:3.11").run_commands("one").workdir("/app").run_commands("two").env({"A": "b c"})
    dockerfile = Dockerfile.parse(image.dockerfile())
    assert dockerfile.base == "python:3.11"
    assert dockerfile.steps == (("/", "one"), ("/app", "two"))
    assert dockerfile.env == {"A": "b c"}
    assert dockerfile.workdir == "/app"


def test_exec_form_and_continued_lines_become_shell_commands() -> None:
    text = 'FROM x\n# a comment\nRUN ["echo", "a b"]\nRUN one && \\\n    two\nENTRYPOINT ["serve", "--fast"]\n'
    dockerfile = Dockerfile.parse(text)
    assert [step.split() for _, step in dockerfile.steps] == [["echo", "'a", "b'"], ["one", "&&", "two"]]
    assert dockerfile.entrypoint == ["serve", "--fast"]


def test_what_only_readies_a_bare_image_is_not_executed() -> None:
    dockerfile = Dockerfile.parse(Image.debian_slim("3.11").pip_install("tomli-w").dockerfile())
    executed = [step for _, step in dockerfile.steps if not SKIPPED.search(step)]
    assert executed == ["python -m pip install tomli-w"]


@pytest.mark.parametrize("text", ["RUN one", "FROM x\nCOPY a b", "FROM x\nHEALTHCHECK NONE"])
def test_what_cannot_be_emulated_is_refused(text: str) -> None:
    with pytest.raises(ApiError) as caught:
        Dockerfile.parse(text)
    assert caught.value.status == 400
