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
from tests.flows.conftest import CommandLine


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


def test_its_variables_are_secrets_but_for_plain_words_and_numbers(tmp_path: Path) -> None:
    lines = ("TOKEN=correct-horse-1", 'QUOTED="one \\"two\\" 3"', "MODE=release", "SEED=1234567", "EMPTY=")
    context = read_context(write(tmp_path, **{".env": "\n".join(lines)}))
    assert context is not None
    hidden = {secret.get_secret_value() for secret in context.secrets}
    assert hidden == {"correct-horse-1", 'one "two" 3', r"one \"two\" 3"}
    assert "horse" not in f"{context!r}"


def test_what_an_agent_prints_of_them_is_nowhere_in_the_results(command_line: CommandLine, tmp_path: Path) -> None:
    folder = write(tmp_path / "context", **{".env": "TOKEN=correct-horse-1"})
    run = command_line(
        "run",
        *("--benchmark", "hello-world", "--agent", "command", "--context", folder, "--json"),
        *("--agent-command", "echo the token is $TOKEN; echo $TOKEN >&2; exit 3"),
    )
    assert run.document["rollouts"][0]["error"]["kind"] == "agent-failed"
    results = tmp_path / "results"
    (log,) = results.rglob("agent.log")
    assert "the token is " in log.read_text()
    shown = [path.read_bytes() for path in results.rglob("*") if path.is_file()]
    assert not any(b"correct-horse-1" in content for content in (*shown, (run.stdout + run.stderr).encode()))


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
