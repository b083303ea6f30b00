"""Reading benchmarks: what is found, in which order and splits, what is hidden, and what a broken one is called."""

import json
import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from task_app.benchmarks import BenchmarkError, ReferenceFile, open_benchmark
from task_app.benchmarks.scaffold import declarations
from task_app.errors import InvalidRequest
from tests.task_app.serving import ROOT, serving, settings

SAMPLE = ROOT / "benchmarks" / "sample"

STUB = """use crate::engine::Game;

pub const NAME: &str = "{ not a brace }";

/// TODO: deal damage.
pub fn strike(game: &mut Game) -> u32 {
    if game.flip() { 20 } else { 0 }
}

pub fn helper() -> u32 { 7 }
"""
TESTS = """#[cfg(test)]
mod eval_tests {
    use super::*;
    #[test]
    fn heads_does_20() { assert_eq!(strike(&mut Game), 20); }
    #[test]
    fn tails_does_0() { assert_eq!(strike(&mut Game), 0); }
}
"""


def _instance(id: str, tests: int = 2, **card: Any) -> dict[str, Any]:
    module = id.replace("-", "_")
    return {
        "id": id,
        "name": f"Card {id}",
        "card_file": f"crate_name/src/{id.partition('-')[0]}/cards/{module}.rs",
        "cards": [{"name": id, **card}],
        "tests": [{"name": f"t{number}", "description": f"checks {number}"} for number in range(tests)],
        "something_else": True,
    }


def _add(folder: Path, instance: dict[str, Any]) -> None:
    module = instance["id"].replace("-", "_")
    for path, text in {
        f"data/instances/single/{instance['id']}.json": json.dumps(instance),
        f"gold/stubs/{module}.rs": STUB,
        f"gold/implementations/{module}.rs": "// the reference\n",
        f"gold/tests/{module}_eval.rs": TESTS,
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A benchmark in the classic layout with three instances, none of which its crate declares."""
    folder = tmp_path / "clone"
    (folder / "scaffold" / "src").mkdir(parents=True)
    (folder / "scaffold" / "target" / "debug").mkdir(parents=True)
    (folder / "scaffold" / "Cargo.toml").write_text('[package]\nname = "crate_name"\n')
    (folder / "scaffold" / "src" / "lib.rs").write_text("pub mod engine;")
    attack = {"name": "Strike", "text": "Flip a coin."}
    _add(folder, _instance("hp-002-b", stage="stage2", attacks=[attack], abilities=[attack]))  # 4 + 2 + 1 + 2 + 2
    _add(folder, _instance("df-010-c", attacks=[{"name": "Strike", "text": ""}]))  # 4 + 1
    _add(folder, _instance("df-009-a", tests=1, stage="basic", abilities=None))  # 2
    return folder


def test_instances_and_splits(clone: Path) -> None:
    benchmark = open_benchmark(clone)
    assert benchmark.name == "clone"
    assert [(i.id, i.split, i.difficulty) for i in benchmark.instances()] == [
        ("df-009-a", "df", 2),
        ("df-010-c", "df", 5),
        ("hp-002-b", "hp", 11),
    ]
    by_split = {split: [i.id for i in benchmark.instances(split)] for split in benchmark.splits}
    assert by_split == {
        "df": ["df-009-a", "df-010-c"],
        "hp": ["hp-002-b"],
        "easy": ["df-009-a", "df-010-c"],
        "hard": ["hp-002-b"],
    }
    with pytest.raises(InvalidRequest, match="Splits: df, hp, easy, hard"):
        benchmark.instances("nope")


def test_the_workspace_is_the_crate_with_a_blanked_stub(clone: Path, tmp_path: Path) -> None:
    benchmark = open_benchmark(clone)
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    task = benchmark.prepare(benchmark.instances("hp")[0], workspace)
    assert task.file == PurePosixPath("src/hp/cards/hp_002_b.rs")
    assert (workspace / task.file).read_text() == task.stub
    assert "game.flip()" not in task.stub
    assert re.search(r"pub fn strike\(game: &mut Game\) -> u32 \{\s*todo!\(\)\s*\}", task.stub)
    assert "pub fn helper() -> u32 { 7 }" in task.stub, "the tests do not call it, so it stays"
    assert task.tests_total == 2
    assert {str(path.relative_to(workspace)) for path in workspace.rglob("*") if path.is_file()} == {
        "Cargo.toml",
        "src/lib.rs",
        "src/hp/mod.rs",
        "src/hp/cards/mod.rs",
        "src/hp/cards/hp_002_b.rs",
    }
    assert (workspace / "src/lib.rs").read_text() == "pub mod engine;\npub mod hp;\n"
    told = ("Card hp-002-b", "src/hp/cards/hp_002_b.rs", "Flip a coin.", "`t1`: checks 1", "cargo check", "no `unsafe`")
    assert [text for text in told if text not in task.prompt] == []


def test_only_the_reference_is_secretly_known(clone: Path) -> None:
    benchmark = open_benchmark(clone)
    instance = benchmark.instances()[0]
    assert benchmark.reference(instance) == ReferenceFile("// the reference\n")
    assert "reference" not in instance.model_dump_json()
    assert "eval_tests" not in instance.model_dump_json()
    (clone / "gold/implementations/df_009_a.rs").unlink()
    assert open_benchmark(clone).reference(instance) is None


def test_sealing_leaves_secrets_in_memory_alone(clone: Path, tmp_path: Path) -> None:
    benchmark = open_benchmark(clone)
    benchmark.seal()
    left = "".join(path.read_text() for path in clone.rglob("*") if path.is_file())
    assert "the reference" not in left
    assert "heads_does_20" not in left
    instance = benchmark.instances()[0]
    assert benchmark.reference(instance) == ReferenceFile("// the reference\n")
    (tmp_path / "workspace").mkdir()
    assert "todo!()" in benchmark.prepare(instance, tmp_path / "workspace").stub
    with pytest.raises(BenchmarkError, match="Upload the benchmark again"):
        open_benchmark(clone)


def _remove(path: str) -> Callable[[Path], None]:
    return lambda folder: (folder / path).unlink()


def _write(path: str, text: str | bytes) -> Callable[[Path], None]:
    def break_it(folder: Path) -> None:
        (folder / path).write_bytes(text if isinstance(text, bytes) else text.encode())

    return break_it


_JSON = "data/instances/single/df-009-a.json"


@pytest.mark.parametrize(
    ("break_it", "file", "expected"),
    [
        (_write(_JSON, "{"), _JSON, "EOF while parsing"),
        (_write(_JSON, "[]"), _JSON, "object"),
        (_write(_JSON, json.dumps(_instance("df-009-a") | {"cards": []})), _JSON, "cards"),
        (_write(_JSON, json.dumps(_instance("df-009-a") | {"tests": []})), _JSON, "tests"),
        (_write(_JSON, json.dumps(_instance("df-009-b"))), _JSON, "named by its id"),
        (_write(_JSON, json.dumps(_instance("df-009-a") | {"id": "../../x"})), _JSON, "id"),
        (_write(_JSON, json.dumps(_instance("df-009-a") | {"card_file": "x/src/../../y.rs"})), _JSON, "card_file"),
        (_remove("gold/tests/df_009_a_eval.rs"), "gold/tests/df_009_a_eval.rs", "the hidden tests"),
        (_write("gold/tests/df_009_a_eval.rs", "mod eval_tests {}"), "gold/tests/df_009_a_eval.rs", "#[test]"),
        (_write("gold/tests/df_009_a_eval.rs", b"\xff"), "gold/tests/df_009_a_eval.rs", "can't be read as text"),
        (_remove("gold/stubs/df_009_a.rs"), "gold/stubs/df_009_a.rs", "the file that an agent starts from"),
        (_remove("scaffold/Cargo.toml"), "scaffold/Cargo.toml", "is missing"),
        (_write("benchmark.json", "{"), "benchmark.json", '{"kind": "classic"}'),
        (_write("benchmark.json", '{"kind": "chess"}'), "benchmark.json", "Kinds: classic, harbor, hello-world"),
        (_write("benchmark.json", '{"kind": "hello-world"}'), "workspace/README.md", "is missing"),
    ],
)
def test_a_broken_benchmark_is_named_with_what_was_expected(
    clone: Path, break_it: Callable[[Path], None], file: str, expected: str
) -> None:
    break_it(clone)
    with pytest.raises(BenchmarkError) as broken:
        open_benchmark(clone)
    assert str(clone / file) in str(broken.value)
    assert expected in str(broken.value)


def test_no_benchmark_at_all(tmp_path: Path) -> None:
    with pytest.raises(BenchmarkError, match=r"There is no folder .*nowhere"):
        open_benchmark(tmp_path / "nowhere")
    with pytest.raises(BenchmarkError, match=r"data/instances/single/\*.json"):
        open_benchmark(tmp_path)
    (tmp_path / "data/instances/single").mkdir(parents=True)
    (tmp_path / "scaffold").mkdir()
    (tmp_path / "scaffold" / "Cargo.toml").touch()
    with pytest.raises(BenchmarkError, match="holds no instance"):
        open_benchmark(tmp_path)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "pub mod x;\n"),
        ("pub mod xy;", "pub mod xy;\npub mod x;\n"),
        ("// mod x;\n", "// mod x;\npub mod x;\n"),
        ("pub mod x;\n", None),
        ("    pub(crate) mod  x ;\n", None),
        ("mod x {}\n", None),
    ],
)
def test_a_module_is_declared_where_it_is_not(tmp_path: Path, before: str, after: str | None) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/lib.rs").write_text(before)
    assert declarations(tmp_path, PurePosixPath("src/x.rs")) == ({} if after is None else {"src/lib.rs": after})


def test_a_module_file_beside_its_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/lib.rs").write_text("pub mod set;\n")
    (tmp_path / "src/set.rs").write_text("pub mod other;\n")
    changed = declarations(tmp_path, PurePosixPath("src/set/cards/x.rs"))
    assert changed == {"src/set/cards/mod.rs": "pub mod x;\n", "src/set.rs": "pub mod other;\npub mod cards;\n"}


def test_the_bundled_benchmarks() -> None:
    sample = open_benchmark(SAMPLE)
    assert (sample.name, sample.splits) == ("sample", ("em", "sc", "easy", "hard"))
    assert [len(sample.instances(split)) for split in (None, *sample.splits)] == [16, 8, 8, 8, 8]
    assert "cargo" in sample.tools
    hello = open_benchmark(ROOT / "benchmarks" / "hello-world", name="greeting")
    assert (hello.name, hello.tools, len(hello.instances())) == ("greeting", (), 1)


async def test_task_info_tells_the_card_and_no_secret(tmp_path: Path) -> None:
    async with serving(settings(tmp_path / "work", SAMPLE, benchmark_name="sample")) as client:
        told = [(await client.get("/task_info", params={"seed": seed, "split": "sc"})).json() for seed in range(8)]
    assert len({task["id"] for task in told}) == 8
    assert all(task["data"]["cards"] and task["data"]["tests"] for task in told)
    secrets = [
        path.read_text() for folder in ("tests", "implementations") for path in (SAMPLE / "gold" / folder).iterdir()
    ]
    code = {line.strip() for text in secrets for line in text.splitlines() if line.strip().endswith((";", "{"))}
    assert not [line for line in code if line in json.dumps(told)]
