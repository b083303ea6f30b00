"""The folder that `context` names: from its files to what the agent finds."""

from pathlib import Path

import pytest

from core.errors import ConfigurationError
from core.settings import Settings
from flows.context import read_context
from flows.evaluation import _policy
from flows.parameters import Parameters
from flows.plan import make_plan
from task_app.agents.overrides import FILE_SIZE, FILES
from task_app.contracts import PolicyConfig


def write(folder: Path, **files: str) -> str:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return str(folder)


def policy(**parameters: object) -> PolicyConfig:
    """What the task app is asked with."""
    plan = make_plan(Parameters.model_validate({"benchmark": "hello-world", **parameters}), "run", Settings())
    return PolicyConfig.model_validate(_policy(plan).model_dump(mode="json"))


def test_all_that_the_folder_holds_goes_where_it_belongs(tmp_path: Path) -> None:
    files = {
        "AGENTS.md": "Be brief.",
        "skills/tests/SKILL.md": "How to test.",
        "preflight.sh": "#!/bin/bash\ntrue\n",
        ".env": "# a comment\nSTRATEGY='tests first'\nexport HOME_OF=$HOME\nEMPTY\n",
    }
    (override,) = policy(context=write(tmp_path / "terse", **files)).context_overrides
    assert override.override_id == "terse"
    assert override.file_artifacts == {"AGENTS.md": "Be brief.", "skills/tests/SKILL.md": "How to test."}
    assert override.preflight_script == files["preflight.sh"]
    assert override.env_vars == {"STRATEGY": "tests first", "HOME_OF": "$HOME", "EMPTY": ""}


def test_without_a_folder_there_is_nothing_to_find() -> None:
    assert read_context("") is None
    assert policy() == PolicyConfig(timeout=600)


def test_a_run_says_how_many_turns_and_what_prompt() -> None:
    asked = policy(max_turns=7, system_prompt="Be brief.", internet=True)
    assert (asked.max_turns, asked.system_prompt, asked.internet) == (7, "Be brief.", True)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"preflight.sh": "true"}, "must begin with #!/bin/bash"),
        ({"big.md": "x" * (FILE_SIZE + 1)}, "too large"),
        ({f"{number}.md": "x" for number in range(FILES + 1)}, f"has {FILES + 1} files"),
    ],
)
def test_what_no_agent_could_be_given_is_refused_before_the_run(
    tmp_path: Path, files: dict[str, str], says: str
) -> None:
    with pytest.raises(ConfigurationError, match=says):
        read_context(write(tmp_path, **files))


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    with pytest.raises(ConfigurationError, match=r"image\.png is no text"):
        read_context(str(tmp_path))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"There is no folder .*/nowhere"):
        read_context(str(tmp_path / "nowhere"))
