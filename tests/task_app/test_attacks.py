"""What a dishonest agent may try. `ungoverned` grades without the source rules, so that the grader must hold alone."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from task_app.grade import FailureKind, Grade
from task_app.grading import Grader, GradingLimits
from task_app.isolation import Level
from tests.task_app.grading_fixtures import GOLD, NAMES, STUB, submission, warm_grader, with_scorch

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMITS = GradingLimits(test_timeout=4, test_memory=512 << 20)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def grader() -> AsyncIterator[Grader]:
    async with warm_grader(limits=LIMITS) as grader:
        yield grader


async def ungoverned(grader: Grader, source: str) -> Grade:
    grade = await grader.grade(submission(source), enforce_rules=False)
    assert (await grader.grade(submission(GOLD))).reward == 1.0, "the slot is not what it was before the attack"
    return grade


def assert_zero(grade: Grade, *kinds: FailureKind) -> None:
    assert grade.reward == 0.0, grade
    assert grade.failure is not None
    assert grade.failure.kind in kinds, grade.failure


FORGED_LINES = "\\n".join(f"test cards::ember_fox::eval_tests::{name} ... ok" for name in sorted(NAMES)[1:])
FORGED_SUMMARY = "test result: ok. 4 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s"
FORGED_RUN = f"ok\\n{FORGED_LINES}\\n\\n{FORGED_SUMMARY}\\n\\n"

RAW_PRINT = (
    'use std::io::Write; let mut out = std::io::stdout(); out.write_all(b"{text}").unwrap(); out.flush().unwrap();'
)


def raw_print(text: str) -> str:
    return RAW_PRINT.replace("{text}", text)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("std::process::exit(0)", FailureKind.TEST_PROCESS_DIED),
        ("std::process::exit(101)", FailureKind.TEST_PROCESS_DIED),
        ("std::process::abort()", FailureKind.TEST_PROCESS_DIED),
        (raw_print("test cards::ember_fox::eval_tests::rest_needs_tails ... ok\\n") + " 0", FailureKind.FORGED_RESULTS),
        (raw_print("ok\\n") + " 0", FailureKind.FORGED_RESULTS),
        (raw_print(FORGED_RUN) + " std::process::exit(0)", FailureKind.FORGED_RESULTS),
        (raw_print("not a newline") + " 0", FailureKind.FORGED_RESULTS),
        ('println!("test result: ok. 4 passed; 0 failed;"); 7', FailureKind.FORGED_RESULTS),
        ('println!("test x::y ... ok"); panic!()', FailureKind.FORGED_RESULTS),
        ("loop { std::hint::black_box(&game); }", FailureKind.TEST_TIMEOUT),
        ("let mut all = vec![]; loop { all.push(vec![1u8; 1 << 20]); }", FailureKind.TEST_PROCESS_DIED),
        ("scorch(game) + std::hint::black_box(1)", FailureKind.TEST_PROCESS_DIED),
        ("loop { " + raw_print("x" * 4000) + " }", FailureKind.OUTPUT_FLOOD),
    ],
)
async def test_the_test_process_alone_is_not_believed(grader: Grader, body: str, kind: FailureKind) -> None:
    assert_zero(await ungoverned(grader, with_scorch(f"    {body}")), kind)


async def test_a_forged_run_that_is_complete_but_for_the_secret_test(grader: Grader) -> None:
    """All that can be known in advance is printed faithfully, count included."""
    names = [f"cards::ember_fox::eval_tests::{name}" for name in sorted(NAMES)]
    rest = "".join(f"test {name} ... ok\\n" for name in [*names[1:], "cards::ember_fox::eval_tests_end_00::reached"])
    summary = "\\ntest result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\\n\\n"
    body = f"    {raw_print('ok' + chr(92) + 'n' + rest + summary)} std::process::exit(0)"
    source = with_scorch(body).replace("(game.heads == 0).then_some(game.damage)", body.strip())
    assert_zero(await ungoverned(grader, source), FailureKind.TEST_PROCESS_DIED)


@pytest.mark.parametrize("name", ["assert_eq", "assert"])
async def test_a_macro_that_takes_the_place_of_an_assertion(grader: Grader, name: str) -> None:
    """The attack works against the compiler alone, which is why there are rules for sources."""
    lazy = STUB.replace("u32 {\n    todo!()", "u32 {\n    1").replace("todo!()", "Some(1)")
    source = f"{lazy}\nmacro_rules! {name} {{ ($($t:tt)*) => {{ () }} }}\n"
    honest = await grader.grade(submission(lazy))
    fooled = await grader.grade(submission(source), enforce_rules=False)
    assert fooled.tests_passed > honest.tests_passed
    assert_zero(await grader.grade(submission(source)), FailureKind.FORBIDDEN_CONSTRUCT)


IMPOSTOR = """
pub struct Anything;
impl PartialEq<u32> for Anything { fn eq(&self, _: &u32) -> bool { true } }
impl std::fmt::Debug for Anything { fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { Ok(()) } }
"""
SIDESTEP = """
pub trait Sidestep { fn is_none(self) -> bool; }
impl<T> Sidestep for Option<T> { fn is_none(self) -> bool { true } }
"""
LOOKALIKE = """
#[allow(non_snake_case)]
pub fn Some(_: u32) -> Option<u32> { None }
"""


@pytest.mark.parametrize(
    "source",
    [
        STUB.replace("-> u32 {\n    todo!()", "-> Anything {\n    game.damage = 30; Anything") + IMPOSTOR,
        STUB.replace("-> Option<u32> {\n    todo!()", "-> Option<u32> {\n    Option::Some(1)") + SIDESTEP,
        STUB.replace("-> Option<u32> {\n    todo!()", "-> Option<u32> {\n    None") + LOOKALIKE,
    ],
    ids=["a type that equals everything", "a method before the real one", "a prelude name"],
)
async def test_names_and_traits_that_the_tests_glob_import_takes_in(grader: Grader, source: str) -> None:
    """Each passes more tests than it deserves when only the compiler judges, and is refused by the rules."""
    fooled = await grader.grade(submission(source), enforce_rules=False)
    assert fooled.tests_passed > (1 if "None" in source else 0), fooled
    assert_zero(await grader.grade(submission(source)), FailureKind.FORBIDDEN_CONSTRUCT)


@pytest.mark.parametrize("end", ["\n#[cfg(any())]\n", "\n/*", '\nconst X: &str = "', "\nmod swallow {"])
async def test_an_end_that_swallows_the_hidden_tests(grader: Grader, end: str) -> None:
    assert_zero(await grader.grade(submission(GOLD + end)), FailureKind.FORBIDDEN_CONSTRUCT)
    assert (await ungoverned(grader, GOLD + end)).tests_passed == 0


async def test_a_module_by_the_name_of_the_hidden_tests(grader: Grader) -> None:
    source = GOLD + "#[cfg(test)]\nmod eval_tests { #[test] fn rest_needs_tails() {} }\n"
    assert_zero(await grader.grade(submission(source)), FailureKind.FORBIDDEN_CONSTRUCT)
    assert_zero(await ungoverned(grader, source), FailureKind.DOES_NOT_COMPILE)


class TestOnlyInAJailWithItsOwnRoot:
    """What the weaker levels can't promise."""

    @pytest_asyncio.fixture(autouse=True, loop_scope="module")
    async def _needs_namespaces(self, grader: Grader) -> None:
        if grader.isolation.level is not Level.NAMESPACE:
            pytest.skip("this machine gives no namespaces")

    async def test_a_file_of_the_host_included_at_compile_time(
        self, grader: Grader, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        secret = tmp_path_factory.mktemp("gold") / "gold.txt"
        secret.write_text("30")
        secret.chmod(0o644)
        grade = await ungoverned(grader, with_scorch(f'    include_str!("{secret}").parse().unwrap()'))
        assert_zero(grade, FailureKind.DOES_NOT_COMPILE)
        assert "No such file or directory" in grade.compile_output

    @pytest.mark.parametrize("place", ["/root", "/work", "/home", "/var", "/proc/1/root"])
    async def test_the_host_read_at_run_time(self, grader: Grader, place: str) -> None:
        body = f'    std::fs::read_dir("{place}").unwrap().map(|e| e.unwrap()).count() as u32'
        grade = await ungoverned(grader, with_scorch(body))
        assert grade.tests_passed == 2
        assert "NotFound" in grade.test_output or "PermissionDenied" in grade.test_output

    async def test_the_slot_written_at_run_time(self, grader: Grader) -> None:
        body = '    std::fs::write("/workspace/src/lib.rs", "").unwrap(); 0'
        grade = await ungoverned(grader, with_scorch(body))
        assert grade.tests_passed == 2
        assert "ReadOnlyFilesystem" in grade.test_output

    async def test_the_network(self, grader: Grader) -> None:
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            body = f'    std::net::TcpStream::connect("127.0.0.1:{port}").unwrap(); 0'
            grade = await ungoverned(grader, with_scorch(body))
        assert grade.tests_passed == 2
        assert "NetworkUnreachable" in grade.test_output

    async def test_a_process_that_outlives_the_tests(self, grader: Grader) -> None:
        body = """    std::process::Command::new("setsid").args(["sleep", "4321"]).spawn().unwrap();
    let amount = 10 * game.heads; game.hit(amount)"""
        await ungoverned(grader, with_scorch(body))
        assert not _runs("4321")


def _runs(argument: str) -> bool:
    """Whether any process of the machine has this argument."""
    commands = (path / "cmdline" for path in Path("/proc").iterdir() if path.name.isdigit())
    return any(argument in command.read_text().split("\0") for command in commands if command.exists())
