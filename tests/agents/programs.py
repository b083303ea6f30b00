"""The real programs, as `make agents` installs them."""

from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / ".agents" / "node_modules" / ".bin"
VARIABLES = {"OPENCODE_BIN": "opencode", "CODEX_BIN": "codex", "CLAUDE_BIN": "claude"}


def environment() -> dict[str, str]:
    """What tells the agents where their programs are. Raises FileNotFoundError if they are not installed."""
    found = {variable: FOLDER / name for variable, name in VARIABLES.items()}
    if missing := [str(path) for path in found.values() if not path.exists()]:
        raise FileNotFoundError(f"{', '.join(missing)} missing. Install them with `make agents`.")
    return {variable: str(path) for variable, path in found.items()}
