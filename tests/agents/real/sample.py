"""Scripts that solve the bundled benchmark's instances in an agent's way: look, write, check, say so."""

import json
from pathlib import Path

from tests.scripted_model import Bash, Read, Say, Script, Write
from tests.task_app.serving import ROOT

SAMPLE = ROOT / "benchmarks" / "sample"
LOOK_AROUND = "env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'; ls -a ~ /; cargo check --offline 2>&1 | tail -3"


def instances() -> list[str]:
    return sorted(path.stem for path in (SAMPLE / "data" / "instances" / "single").glob("*.json"))


def card_file(instance: str) -> str:
    """What an agent has to write, relative to its workspace."""
    described = json.loads((SAMPLE / "data" / "instances" / "single" / f"{instance}.json").read_text())
    return str(Path(*Path(described["card_file"]).parts[1:]))


def solution(instance: str, marker: str) -> Script:
    """Writes the reference solution; `marker` is a text that this rollout alone may have."""
    file, reference = card_file(instance), _reference(instance)
    return Script(
        (
            (Say(f"I look at the outline. {marker}"), Read(file)),
            (Write(file, f"{reference}\n// {marker}\n"),),
            (Bash(LOOK_AROUND),),
            (Say(f"It compiles. {marker}"),),
        )
    )


def broken(instance: str) -> Script:
    """Writes what does not compile."""
    wrong = f'{_reference(instance)}\nfn wrong() -> u32 {{\n    "text"\n}}\n'
    return Script(((Write(card_file(instance), wrong),), (Say("Done."),)))


def _reference(instance: str) -> str:
    return (SAMPLE / "gold" / "implementations" / f"{instance.replace('-', '_')}.rs").read_text()
