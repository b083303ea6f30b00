"""Grading, with a real crate and a real cargo."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from task_app import grading
from task_app.errors import InfrastructureFailure
from task_app.grade import FailureKind, Grade, reward
from task_app.grading import Grader, GradingLimits, Submission
from task_app.isolation import Isolation, Jail, Level
from task_app.processes import Completed
from task_app.toolchain import Toolchain
from tests.task_app.grading_fixtures import (
    CARD_FILE,
    GOLD,
    NAMES,
    STUB,
    TESTS,
    available_levels,
    open_directory,
    submission,
    warm_grader,
    with_scorch,
    write_scaffold,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grader() -> AsyncIterator[Grader]:
    async with warm_grader(slots=2) as grader:
        yield grader


async def test_the_reward_of_all_tests_is_one() -> None:
    assert [reward(total, total) for total in range(1, 50)] == [1.0] * 49
    assert reward(0, 3) == 0.3
    assert reward(1, 2) == pytest.approx(0.65)


async def test_gold_earns_all(grader: Grader) -> None:
    grade = await grader.grade(submission(GOLD))
    assert (grade.reward, grade.tests_passed, grade.tests_total, grade.failure) == (1.0, 4, 4, None)
    assert grade.phases.keys() == {"compile", "tests"}
    assert "test result: ok" in grade.test_output


async def test_the_stub_earns_that_it_compiles(grader: Grader) -> None:
    grade = await grader.grade(submission(STUB))
    assert (grade.reward, grade.tests_passed) == (0.3, 0)
    assert grade.failure is not None
    assert grade.failure.kind is FailureKind.TESTS_FAILED
    assert all(name in grade.failure.message for name in NAMES)


async def test_a_part_earns_a_part(grader: Grader) -> None:
    grade = await grader.grade(submission(with_scorch("    0")))
    assert (grade.reward, grade.tests_passed) == (pytest.approx(0.3 + 0.7 * 3 / 4), 3)


async def test_what_does_not_compile_earns_nothing(grader: Grader) -> None:
    grade = await grader.grade(submission(with_scorch("    nonsense")))
    assert (grade.reward, grade.tests_passed, grade.tests_total) == (0.0, 0, 4)
    assert grade.failure is not None
    assert grade.failure.kind is FailureKind.DOES_NOT_COMPILE
    assert "nonsense" in grade.failure.message
    assert f"{CARD_FILE}:" in grade.compile_output


async def test_a_card_that_the_scaffold_does_not_declare(grader: Grader) -> None:
    undeclared = replace(
        submission(GOLD),
        card_file="src/fresh/cards/fox.rs",
        overrides={
            "src/lib.rs": "pub mod cards;\npub mod engine;\npub mod fresh;\n",
            "src/fresh/mod.rs": "pub mod cards;\n",
            "src/fresh/cards/mod.rs": "pub mod fox;\n",
        },
    )
    assert (await grader.grade(undeclared)).reward == 1.0
    assert (await grader.grade(submission(GOLD))).reward == 1.0
    forgotten = replace(undeclared, overrides={})
    assert (await grader.grade(forgotten)).reward == 0.0


async def test_grades_at_the_same_time_do_not_mix(grader: Grader) -> None:
    sources = [GOLD, STUB, with_scorch("    0"), GOLD, with_scorch("    nonsense"), STUB]
    grades = await asyncio.gather(*(grader.grade(submission(source)) for source in sources))
    assert [grade.tests_passed for grade in grades] == [4, 0, 3, 4, 0, 0]


async def test_the_same_source_twice_earns_the_same(grader: Grader) -> None:
    grades = [await grader.grade(submission(source)) for source in (GOLD, GOLD, STUB, STUB, GOLD)]
    assert [grade.reward for grade in grades] == [1.0, 1.0, 0.3, 0.3, 1.0]


async def test_a_forbidden_construct_is_named_and_nothing_is_compiled(grader: Grader) -> None:
    grade = await grader.grade(submission(GOLD + "use std::fs;\n"))
    assert grade.reward == 0.0
    assert grade.failure is not None
    assert grade.failure.kind is FailureKind.FORBIDDEN_CONSTRUCT
    assert "`std::fs`" in grade.failure.message
    assert grade.phases == {}


async def test_output_is_bounded_and_its_tail_is_kept(grader: Grader) -> None:
    body = '    for i in 0..20_000 { println!("line {i}"); } panic!("the end")'
    grade = await grader.grade(submission(with_scorch(body)))
    assert grade.tests_passed == 2
    assert len(grade.test_output.encode()) <= 64 * 1024
    assert "test result: FAILED" in grade.test_output
    warnings = "".join(f"fn unused_function_{i}() {{}}\n" for i in range(400))
    grade = await grader.grade(submission(with_scorch("    nonsense") + warnings))
    assert len(grade.compile_output.encode()) <= 64 * 1024
    assert "cannot find value `nonsense`" in grade.compile_output


async def test_hidden_tests_may_expect_a_panic(grader: Grader) -> None:
    tests = TESTS.replace(
        "#[test]\n    fn rest_needs", '#[test]\n    #[should_panic(expected = "")]\n    fn rest_needs'
    )
    grade = await grader.grade(replace(submission(with_scorch("    panic!()")), tests=tests))
    assert grade.tests_passed == 1


async def test_a_benchmark_without_tests_is_the_benchmarks_fault(grader: Grader) -> None:
    with pytest.raises(InfrastructureFailure, match="no hidden tests"):
        await grader.grade(Submission(CARD_FILE, GOLD, "mod eval_tests {}"))


async def test_no_path_of_the_machine_is_told(grader: Grader) -> None:
    grade = await grader.grade(submission(STUB + "fn unused() {}\n"))
    for output in (grade.compile_output, grade.test_output):
        assert output
        assert "/tmp/" not in output


async def test_a_warm_grade_is_one_cargo_call_and_one_test_run(grader: Grader, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    run = Isolation.run

    async def counted(self: Isolation, jail: Jail, argv: list[str], **options: object) -> Completed:
        calls.append(Path(argv[0]).name.partition("-")[0])
        return await run(self, jail, argv, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Isolation, "run", counted)
    await grader.grade(submission(GOLD))
    assert calls == ["cargo", "tiny_engine"]


async def test_a_cancelled_grade_leaves_a_slot_that_grades() -> None:
    async with warm_grader() as grader:
        endless = submission(with_scorch("    loop { std::hint::black_box(&game); }"))
        for delay in (0.05, 1.5):
            running = asyncio.create_task(grader.grade(endless))
            await asyncio.sleep(delay)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
        assert (await grader.grade(submission(GOLD))).reward == 1.0


async def test_a_compile_without_end_earns_nothing() -> None:
    limits = GradingLimits(compile_timeout=0.05)
    async with warm_grader(limits=limits) as grader:
        grade = await grader.grade(submission(GOLD))
        assert grade.reward == 0.0
        assert grade.failure is not None
        assert grade.failure.kind is FailureKind.COMPILE_TIMEOUT


@pytest.mark.parametrize("level", available_levels())
async def test_grades_alike_at_every_level(level: Level) -> None:
    async with warm_grader(level) as grader:
        sources = [GOLD, STUB, with_scorch("    std::process::exit(0)"), GOLD]
        grades = [await grader.grade(submission(source), enforce_rules=False) for source in sources]
        assert [grade.reward for grade in grades] == [1.0, 0.3, 0.0, 1.0]
        assert "/tmp/" not in grades[1].test_output + grades[1].compile_output


class TestInfrastructure:
    """What is nobody's fault but the machine's has no grade."""

    async def test_a_scaffold_that_does_not_build(self) -> None:
        with open_directory() as directory:
            scaffold = write_scaffold(directory / "scaffold")
            (scaffold / "src/engine.rs").write_text("pub fn broken( {")
            grader = Grader(scaffold, directory / "work", isolation=await Isolation.detect(directory))
            with pytest.raises(InfrastructureFailure, match=r"(?s)does not build as it is.*src/engine\.rs"):
                await grader.warm()
            await grader.close()

    async def test_no_cargo(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(InfrastructureFailure, match="'cargo' and 'rustc'"):
            await Toolchain.detect(tmp_path)

    async def test_cargo_gone_after_warming(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with warm_grader() as grader:
            monkeypatch.setattr(grading.cargo, "COMMAND", ("cargo-that-is-gone",))
            with pytest.raises(InfrastructureFailure, match="cargo-that-is-gone"):
                await grader.grade(submission(GOLD))

    async def test_a_compiler_that_was_killed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with warm_grader() as grader:
            monkeypatch.setattr(grading.cargo, "COMMAND", ("sh", "-c", "kill -9 $$"))
            with pytest.raises(InfrastructureFailure, match="killed from outside"):
                await grader.grade(submission(GOLD))

    async def test_a_full_disk(self) -> None:
        limits = GradingLimits(free_disk=1 << 62)
        async with warm_grader(limits=limits) as grader:
            assert (await grader.grade(submission(GOLD))).reward == 1.0
            with pytest.raises(InfrastructureFailure, match="is full"):
                await grader.grade(submission(with_scorch("    nonsense")))

    async def test_a_test_process_that_was_killed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with warm_grader() as grader:
            body = '    std::process::Command::new("sh").args(["-c", "kill -9 $PPID"]).status().unwrap(); 0'
            with pytest.raises(InfrastructureFailure, match="killed from outside"):
                await grader.grade(submission(with_scorch(body)), enforce_rules=False)


async def test_a_strict_umask_is_not_in_the_way() -> None:
    before = os.umask(0o077)
    try:
        async with warm_grader() as grader:
            fresh = replace(
                submission(GOLD),
                card_file="src/fresh/fox.rs",
                overrides={
                    "src/lib.rs": "pub mod engine;\npub mod fresh;\n",
                    "src/fresh/mod.rs": "pub mod fox;\n",
                },
            )
            assert (await grader.grade(fresh)).reward == 1.0
    finally:
        os.umask(before)


async def test_a_crate_with_dependencies_is_graded_without_a_network() -> None:
    with open_directory() as directory:
        dependency = directory / "dice"
        (dependency / "src").mkdir(parents=True)
        (dependency / "Cargo.toml").write_text('[package]\nname = "dice"\nversion = "1.0.0"\nedition = "2021"\n')
        (dependency / "src/lib.rs").write_text("pub const SIDES: u32 = 10;\n")
        as_someone = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.invalid"]
        for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "Dice"]):
            await asyncio.to_thread(subprocess.run, [*as_someone, *command], cwd=dependency, check=True)
        scaffold = write_scaffold(directory / "scaffold")
        with (scaffold / "Cargo.toml").open("a") as manifest:
            manifest.write(f'[dependencies]\ndice = {{ git = "file://{dependency}" }}\n')
        (scaffold / "Cargo.lock").unlink()
        grader = Grader(scaffold, directory / "work", isolation=await Isolation.detect(directory))
        await grader.warm()
        try:
            grade = await grader.grade(submission(GOLD.replace("10 *", "dice::SIDES *")))
            assert grade.reward == 1.0, grade.compile_output
        finally:
            await grader.close()


async def test_what_an_agent_did_to_its_own_workspace_counts_for_nothing(grader: Grader, tmp_path: Path) -> None:
    """The agent made its card pass at home, by changing all around it. Only the card is graded, elsewhere."""
    workspace = write_scaffold(tmp_path / "workspace")
    cheating = with_scorch("    crate::engine::cheat(game)")
    (workspace / CARD_FILE).write_text(f"{cheating}\n{TESTS}")
    with (workspace / "src/engine.rs").open("a") as engine:
        engine.write("pub fn cheat(game: &mut Game) -> u32 { game.hit(10 * game.heads) }\n")
    (workspace / "src/lib.rs").write_text("#![cfg_attr(agent, allow(warnings))]\npub mod cards;\npub mod engine;\n")
    (workspace / "build.rs").write_text('fn main() { println!("cargo::rustc-cfg=agent"); }')
    (workspace / ".cargo").mkdir()
    (workspace / ".cargo/config.toml").write_text('[build]\nrustflags = ["--cfg", "agent"]\n')
    with (workspace / "Cargo.toml").open("a") as manifest:
        manifest.write("[profile.test]\npanic = 'abort'\n")
    cargo = await Toolchain.detect(workspace)
    at_home = await asyncio.to_thread(
        subprocess.run,
        [cargo.cargo, "test", "--offline", "--lib"],
        cwd=workspace,
        env={**os.environ, "PATH": f"{cargo.cargo.parent}:{os.environ['PATH']}"},
        capture_output=True,
        check=False,
    )
    assert at_home.returncode == 0, at_home.stderr
    assert list((workspace / "target/debug/deps").iterdir()), "its target directory is full of what it built"
    grade: Grade = await grader.grade(submission(cheating))
    assert grade.reward == 0.0
    assert grade.failure is not None
    assert grade.failure.kind is FailureKind.DOES_NOT_COMPILE
