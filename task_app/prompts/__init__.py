"""What the agents are told: one template a kind of task, in the folder of this file."""

from pathlib import Path
from string import Template

_FOLDER = Path(__file__).resolve().parent


def render(template: str, **values: object) -> str:
    """The text of a template file with each `$name` replaced. Raises KeyError for a name without a value."""
    return Template((_FOLDER / template).read_text()).substitute(values)
