"""Reads the classic EngineBench layout.

data/instances/single/<id>.json       the instance: cards, the file to write, names of the hidden tests
gold/stubs/<id with _>.rs             what that file holds at the start
gold/tests/<id with _>_eval.rs        the hidden tests, a module to be appended to the file
gold/implementations/<id with _>.rs   a reference solution, where there is one
scaffold/                             the crate around it
"""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from task_app import rust
from task_app.benchmarks.base import BenchmarkError, Instance
from task_app.benchmarks.scaffold import blanked

INSTANCES = "data/instances/single"
SCAFFOLD = "scaffold"
GOLD = "gold"
KEPT = ("data", SCAFFOLD, "benchmark.json")
"""What of a benchmark's folder holds no secret."""
SEALED = "gold.sealed"
"""Stands in place of `gold` once reference solutions and hidden tests were removed."""


class _Test(BaseModel):
    name: str
    description: str = ""


class _File(BaseModel):
    """An instance's JSON file; what is not needed is not looked at."""

    model_config = ConfigDict(extra="ignore")

    id: str = Field(pattern=r"^[A-Za-z0-9]+(-[A-Za-z0-9_]+)+$")
    name: str
    card_file: str = Field(pattern=r"^[^/]+/src/([^/.][^/]*/)*[A-Za-z0-9_]+\.rs$")
    cards: list[dict[str, Any]] = Field(min_length=1)
    tests: list[_Test] = Field(min_length=1)


@dataclass(frozen=True)
class ClassicInstance:
    """An instance with its secrets."""

    public: Instance
    file: PurePosixPath
    """The file to write, relative to the scaffold."""
    stub: str
    tests: str
    test_names: tuple[str, ...]
    reference: str | None


def load(folder: Path) -> dict[str, ClassicInstance]:
    """All instances by id.

    Raises:
        BenchmarkError: a file is missing or not what was expected; names it.
    """
    if (folder / SEALED).exists():
        raise BenchmarkError(
            f"The reference solutions and hidden tests of {folder} were removed when a task app started on it. "
            "Upload the benchmark again."
        )
    if not (folder / SCAFFOLD / "Cargo.toml").is_file():
        raise BenchmarkError(f"{folder / SCAFFOLD / 'Cargo.toml'} is missing: expected the crate to work in there.")
    files = sorted((folder / INSTANCES).glob("*.json"))
    if not files:
        raise BenchmarkError(f"{folder / INSTANCES} holds no instance: expected one .json file each.")
    return {instance.public.id: instance for instance in (_load_one(folder, file) for file in files)}


def _load_one(folder: Path, path: Path) -> ClassicInstance:
    file = _parse(path)
    module = file.id.replace("-", "_")
    tests = _read(folder / GOLD / "tests" / f"{module}_eval.rs", "the hidden tests")
    names = rust.test_names(tests)
    if not names:
        raise BenchmarkError(f"{folder / GOLD / 'tests' / f'{module}_eval.rs'} holds no #[test] function.")
    stub = _read(folder / GOLD / "stubs" / f"{module}.rs", "the file that an agent starts from")
    reference = folder / GOLD / "implementations" / f"{module}.rs"
    return ClassicInstance(
        public=_public(file),
        file=PurePosixPath(*PurePosixPath(file.card_file).parts[1:]),
        stub=blanked(stub, tests),
        tests=tests,
        test_names=tuple(names),
        reference=_read(reference, "a reference solution") if reference.exists() else None,
    )


def _parse(path: Path) -> _File:
    try:
        file = _File.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BenchmarkError(f"{path} can't be read: {error.strerror}.") from error
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"])) or "the file"
        raise BenchmarkError(f"{path} is no instance of the classic layout: {where}: {problem['msg']}.") from error
    if file.id != path.stem:
        raise BenchmarkError(f"{path}: the id is {file.id!r}, but an instance's file is named by its id.")
    return file


def _public(file: _File) -> Instance:
    return Instance(
        id=file.id,
        split=file.id.split("-", 1)[0],
        difficulty=difficulty(file.cards, len(file.tests)),
        title=file.name,
        description=f"Implement {file.name} in {file.card_file}.",
        data={"cards": file.cards, "tests": [test.model_dump() for test in file.tests]},
    )


def difficulty(cards: list[dict[str, Any]], tests: int) -> int:
    """EngineBench's rank of an instance: 2 per test, and what its cards count."""
    return 2 * tests + sum(_difficulty(card) for card in cards)


def _difficulty(card: dict[str, Any]) -> int:
    """2 per ability, 1 per attack, 1 for each of them with a text, 1 per evolution."""
    abilities, attacks = card.get("abilities") or [], card.get("attacks") or []
    texts = sum(1 for move in (*abilities, *attacks) if isinstance(move, dict) and move.get("text"))
    evolutions = re.search(r"[12]$", str(card.get("stage") or ""))
    return 2 * len(abilities) + len(attacks) + texts + (int(evolutions[0]) if evolutions else 0)


def _read(path: Path, what: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BenchmarkError(f"{path} is missing: expected {what}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BenchmarkError(f"{path} can't be read as text ({error}): expected {what}.") from error
