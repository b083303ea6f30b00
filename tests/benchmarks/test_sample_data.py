"""The bundled sample is complete and consistent. Whether its cards earn what they should is proved by grading them."""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "benchmarks"
SAMPLE = ROOT / "sample"
SCAFFOLD = SAMPLE / "scaffold"
INSTANCES = sorted((SAMPLE / "data" / "instances" / "single").glob("*.json"))
UNDECLARED = "em-010-wildfire-lynx"
"""The instance that the scaffold leaves out, so that somebody has to declare its module."""

FORBIDDEN = re.compile(
    r"\bstd\s*::\s*(process|fs|io|env|thread|net)\b|\bunsafe\b|\bextern\b|\binclude\w*!|\bmacro_rules!"
)

each_instance = pytest.mark.parametrize("path", INSTANCES, ids=lambda path: path.stem)


def module(path: Path) -> str:
    return path.stem.replace("-", "_")


def gold(path: Path, kind: str) -> str:
    name = f"{module(path)}_eval.rs" if kind == "tests" else f"{module(path)}.rs"
    return (SAMPLE / "gold" / kind / name).read_text()


def functions(source: str) -> Iterator[tuple[str, str]]:
    """Name and body of each public function; relies on rustfmt's closing brace in the first column."""
    for match in re.finditer(r"^pub fn (\w+)\(.*?\{\n(.*?)^\}", source, re.MULTILINE | re.DOTALL):
        yield match[1], match[2].strip()


def test_there_are_sixteen_instances_in_two_equal_splits():
    assert Counter(path.stem.split("-")[0] for path in INSTANCES) == {"em": 8, "sc": 8}


def test_nothing_lies_about_that_belongs_to_no_instance():
    modules = {module(path) for path in INSTANCES}
    for kind in ("stubs", "implementations", "wrong", "tests"):
        names = {path.stem.removesuffix("_eval") for path in (SAMPLE / "gold" / kind).iterdir()}
        assert names == modules, kind


def test_the_crate_downloads_nothing():
    manifest = tomllib.loads((SCAFFOLD / "Cargo.toml").read_text())
    assert manifest["package"]["name"] == "tcg_expansions"
    assert not {"dependencies", "dev-dependencies", "build-dependencies", "target"} & set(manifest)
    lock = tomllib.loads((SCAFFOLD / "Cargo.lock").read_text())
    assert [package["name"] for package in lock["package"]] == ["tcg_expansions"]


@pytest.mark.parametrize("name", ["sample", "hello-world"])
def test_a_manifest_says_how_to_read_the_benchmark(name: str):
    manifest = json.loads((ROOT / name / "benchmark.json").read_text())
    assert manifest["kind"] == {"sample": "classic", "hello-world": "hello-world"}[name]
    assert manifest["description"]


def test_hello_world_has_something_to_do():
    assert "TODO" in (ROOT / "hello-world" / "workspace" / "README.md").read_text()


@each_instance
def test_an_instance_describes_its_card(path: Path):
    instance = json.loads(path.read_text())
    split = path.stem.split("-")[0]
    assert instance["id"] == path.stem
    assert instance["mode"] == "single_card"
    assert instance["card_file"] == f"tcg_expansions/src/{split}/cards/{module(path)}.rs"
    (card,) = instance["cards"]
    assert path.stem.startswith(f"{card['id']}-")
    moves = card["abilities"] + card["attacks"]
    implemented = [re.sub(r"\W+", "_", move["name"].lower()) for move in moves]
    assert [name for name, _ in functions(gold(path, "stubs"))] == implemented


@each_instance
def test_the_hidden_tests_are_those_announced(path: Path):
    announced = json.loads(path.read_text())["tests"]
    hidden = gold(path, "tests")
    assert re.findall(r"#\[test\]\s+fn (\w+)\(\)", hidden) == [test["name"] for test in announced]
    assert 3 <= len(announced) <= 8
    assert all(test["description"] for test in announced)
    assert hidden.startswith("#[cfg(test)]\nmod eval_tests {\n    use super::*;\n")


@each_instance
def test_the_stub_leaves_everything_to_do(path: Path):
    bodies = dict(functions(gold(path, "stubs")))
    assert bodies
    assert set(bodies.values()) == {"todo!()"}


@each_instance
def test_reference_and_wrong_variant_fill_in_the_stub(path: Path):
    stub, reference, wrong = (gold(path, kind) for kind in ("stubs", "implementations", "wrong"))
    assert "todo!" not in reference + wrong
    assert reference != wrong
    printed = re.compile(r"^pub static CARD.*?^\};", re.MULTILINE | re.DOTALL)
    (card,) = printed.findall(stub)
    for source in (reference, wrong):
        assert printed.findall(source) == [card]
        assert [name for name, _ in functions(source)] == [name for name, _ in functions(stub)]


@each_instance
def test_card_files_stay_inside_the_game(path: Path):
    for kind in ("stubs", "implementations", "wrong"):
        source = gold(path, kind)
        assert not FORBIDDEN.search(source), kind
        assert "eval_tests" not in source, kind


@each_instance
def test_the_scaffold_holds_the_stub_and_declares_it(path: Path):
    cards = SCAFFOLD / "src" / path.stem.split("-")[0] / "cards"
    declared = f"pub mod {module(path)};" in (cards / "mod.rs").read_text().splitlines()
    if path.stem == UNDECLARED:
        assert not declared
        assert not (cards / f"{module(path)}.rs").exists()
    else:
        assert declared
        assert (cards / f"{module(path)}.rs").read_text() == gold(path, "stubs")


@each_instance
def test_the_scaffold_gives_no_answer_away(path: Path):
    sources = [source.read_text() for source in SCAFFOLD.rglob("*.rs")]
    answers = [body for _, body in functions(gold(path, "implementations")) if "\n" in body]
    hidden = re.findall(r"fn (\w+)\(\)", gold(path, "tests"))
    for source in sources:
        assert not [body for body in answers if body in source]
        assert not [name for name in hidden if f"fn {name}(" in source]
