"""The folder that the parameter `context` names: what an agent is to find in its surroundings.

`AGENTS.md`, `skills/NAME/SKILL.md` and whatever else there is come into its workspace; `preflight.sh` is run before
it, and `.env` holds variables for both, which are kept as secrets: see `ContextOverride.secrets`.
"""

from pathlib import Path

from dotenv import dotenv_values

from core.errors import ConfigurationError
from task_app.agents.overrides import FILE_SIZE, FILES, VARIABLES
from task_app.contracts import ContextOverride

PREFLIGHT = "preflight.sh"
ENVIRONMENT = ".env"


def read_context(name: str) -> ContextOverride | None:
    """What the folder holds; None for no folder.

    Raises:
        ConfigurationError: it is not there, or holds what no agent could be given.
    """
    if not name:
        return None
    folder = Path(name).expanduser().resolve()
    if not folder.is_dir():
        raise ConfigurationError(
            f"There is no folder {folder}. --context names one with AGENTS.md, skills and the like."
        )
    files = {str(path.relative_to(folder)): _text(path) for path in sorted(folder.rglob("*")) if path.is_file()}
    preflight, variables = files.pop(PREFLIGHT, None), _variables(folder, files)
    if len(files) > FILES or len(variables) > VARIABLES:
        raise ConfigurationError(
            f"{folder} has {len(files)} files and {len(variables)} variables. "
            f"A context may have {FILES} and {VARIABLES}."
        )
    if preflight is not None and not preflight.startswith("#!/bin/bash"):
        raise ConfigurationError(f"{folder / PREFLIGHT} must begin with #!/bin/bash.")
    return ContextOverride(
        override_id=folder.name, file_artifacts=files, preflight_script=preflight, env_vars=variables
    )


def _text(path: Path) -> str:
    if path.stat().st_size > FILE_SIZE:
        raise ConfigurationError(f"{path} is too large for a context: it may have {FILE_SIZE} bytes.")
    try:
        return path.read_text()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is no text. A context is made of text files.") from None


def _variables(folder: Path, files: dict[str, str]) -> dict[str, str]:
    if files.pop(ENVIRONMENT, None) is None:
        return {}
    found = dotenv_values(folder / ENVIRONMENT, interpolate=False)
    return {name: value or "" for name, value in found.items()}
