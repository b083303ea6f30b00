"""Grades a submission where its author never was: in a pristine slot, compiled once, tested in a jail."""

import asyncio
import json
import os
import secrets
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from task_app import cargo, libtest, rust, source_rules
from task_app.build_cache import BuildCache
from task_app.errors import InfrastructureFailure
from task_app.grade import Failure, FailureKind, Grade, reward
from task_app.isolation import WORKSPACE, Isolation, Jail, Limits
from task_app.processes import Completed
from task_app.slots import Slot, SlotPool
from task_app.toolchain import Toolchain

_MIB = 1 << 20
_BUILD = {"CARGO_INCREMENTAL": "1", "CARGO_PROFILE_DEV_DEBUG": "0", "CARGO_PROFILE_TEST_DEBUG": "0"}
"""Nobody debugs a graded binary: without debug information it compiles and links faster, and runs the same."""


@dataclass(frozen=True)
class Submission:
    """One card, as an agent left it, and what it is graded with."""

    card_file: str
    """Path relative to the scaffold, e.g. `src/aa/cards/aa_001_x.rs`."""
    source: str
    tests: str
    """A `#[cfg(test)] mod eval_tests {...}` to append to the card."""
    overrides: Mapping[str, str] = field(default_factory=dict)
    """Further files by relative path, e.g. a `mod.rs` that declares the card; ours, never the agent's."""
    stub: str | None = None
    """What the agent started from: constructs that it already has are allowed."""


@dataclass(frozen=True)
class GradingLimits:
    """Seconds and bytes."""

    warm_timeout: float = 900
    compile_timeout: float = 180
    test_timeout: float = 60
    test_memory: int = 2048 * _MIB
    compile_memory: int = field(default_factory=lambda: min(16_384 * _MIB, machine_memory() * 3 // 4))
    """Less than there is, so that a compiler which wants too much fails by itself and is not killed by the system."""
    test_output: int = _MIB
    """What a test process may print; 16 times as much kills it."""
    kept_output: int = 64 * 1024
    free_disk: int = 64 * _MIB
    """A compile that fails with less than this left is the disk's fault."""


def machine_memory() -> int:
    """Bytes of this machine, or of this container (cgroup v2) where it may have less."""
    limit = Path("/sys/fs/cgroup/memory.max")
    told = limit.read_text().strip() if limit.is_file() else ""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(machine, int(told)) if told.isdigit() else machine


class Grader:
    """Grades submissions to one scaffold, as many at a time as it has slots."""

    def __init__(
        self,
        scaffold: Path,
        work: Path,
        *,
        isolation: Isolation,
        slots: int = 1,
        limits: GradingLimits | None = None,
        cache: BuildCache | None = None,
    ) -> None:
        self._limits = limits or GradingLimits()
        self.isolation = isolation
        """How submissions are confined."""
        self._scaffold = scaffold
        self._work = work
        self._slots = slots
        self._cache = cache or BuildCache()
        self._toolchain: Toolchain | None = None
        self._pool: SlotPool | None = None

    async def warm(self) -> None:
        """Build the scaffold and fill the slots.

        Raises:
            InfrastructureFailure: the scaffold does not build as it is, its dependencies can't be had, or there is no
                cargo.
        """
        self._toolchain = toolchain = await Toolchain.detect(self._scaffold)
        self._work.mkdir(parents=True, exist_ok=True)
        self.isolation = await self.isolation.reaching(self._toolchain.cargo, self._work)
        self._pool = SlotPool(
            self._scaffold,
            self._work,
            self._slots,
            self.isolation,
            prepare=lambda crate: toolchain.vendor(crate, self._cache),
            build=self._warm_slot,
            cache=self._cache,
            recipe=json.dumps([str(toolchain.sysroot), await toolchain.version(), cargo.COMMAND, _BUILD, sys.platform]),
        )
        await self._pool.warm()

    @property
    def crate(self) -> Path:
        """The scaffold as it is graded with: also its dependencies are in there, once `warm` has ended."""
        return self._pool.scaffold if self._pool is not None else self._scaffold

    async def close(self) -> None:
        """Remove the slots, once none is in use."""
        if self._pool is not None:
            await self._pool.close()

    async def grade(self, submission: Submission, *, enforce_rules: bool = True) -> Grade:
        """Compile and test a submission.

        Args:
            enforce_rules: False grades by what the code does alone; the tests of this module need that.

        Raises:
            InfrastructureFailure: no fault of the submission; it has no grade.
        """
        assert self._pool is not None, "warm() comes first"
        total = len(rust.test_names(submission.tests))
        if total == 0:
            raise InfrastructureFailure(f"There are no hidden tests for {submission.card_file}; check the benchmark.")
        if enforce_rules and (found := source_rules.violations(submission.source, submission.stub)):
            return _zero(total, FailureKind.FORBIDDEN_CONSTRUCT, "; ".join(str(violation) for violation in found[:3]))
        async with self._pool.lease() as slot:
            return await self._grade_in(slot, submission)

    async def _grade_in(self, slot: Slot, submission: Submission) -> Grade:
        examination = _Examination.of(submission)
        await asyncio.to_thread(slot.place, {**submission.overrides, submission.card_file: examination.source})
        build = await self._compile(slot, self._limits.compile_timeout)
        phases = {"compile": build.duration}
        output = self._tail(slot, build.output)
        if build.timed_out:
            message = f"compiling took longer than {self._limits.compile_timeout:.0f} s"
            return _zero(
                len(examination.tests), FailureKind.COMPILE_TIMEOUT, message, compile_output=output, phases=phases
            )
        if build.executable is None:
            self._blame_the_disk(slot)
            kind, message = FailureKind.DOES_NOT_COMPILE, build.first_error
            return _zero(len(examination.tests), kind, message, compile_output=output, phases=phases)
        tests = await self._test(slot, build.executable, examination)
        phases["tests"] = tests.duration
        return examination.grade(tests, output, self._tail(slot, tests.stdout + tests.stderr), phases)

    async def _warm_slot(self, slot: Slot) -> None:
        build = await self._compile(slot, self._limits.warm_timeout)
        if build.executable is None:
            raise InfrastructureFailure(
                f"The benchmark's scaffold does not build as it is:\n{self._tail(slot, build.output)[-4000:]}"
            )

    async def _compile(self, slot: Slot, timeout: float) -> cargo.Build:
        assert self._toolchain is not None, "warm() comes first"
        jail = Jail(
            workspace=slot.path,
            uid=slot.compile_uid,
            binds=self._toolchain.binds(),
            limits=Limits(memory=self._limits.compile_memory),
        )
        # kept between compiles, since cargo takes its time to set a new one up
        cargo_home = self.isolation.inside(jail, slot.path / "target/cargo-home")
        environment = {**self._toolchain.environment(self.isolation), **_BUILD, "CARGO_HOME": str(cargo_home)}
        return await cargo.build_tests(self.isolation, replace(jail, environment=environment), timeout)

    async def _test(self, slot: Slot, executable: str, examination: "_Examination") -> Completed:
        jail = Jail(
            workspace=slot.path,
            writable=False,
            uid=slot.test_uid,
            limits=Limits(memory=self._limits.test_memory, file_size=_MIB, processes=64, scratch=16 * _MIB),
        )
        # Filters, not the names: the process can read its own arguments, and must not learn the last test's name.
        argv = [executable, *examination.filters, "--test-threads=1", "--color=never"]
        limits = self._limits
        tests = await self.isolation.run(
            jail, argv, timeout=limits.test_timeout, output_limit=limits.test_output, grace=0.5
        )
        if tests.signal == 9 and not tests.timed_out and not tests.output_exceeded:
            raise InfrastructureFailure("The test process was killed from outside, most likely for lack of memory.")
        return tests

    def _blame_the_disk(self, slot: Slot) -> None:
        free = shutil.disk_usage(slot.path).free
        if free < self._limits.free_disk:
            raise InfrastructureFailure(f"The disk of {slot.path} is full ({free >> 20} MiB left). Make room there.")

    def _tail(self, slot: Slot, text: str) -> str:
        """Bounded, and without a path of this machine."""
        content = text.replace(str(slot.path), str(WORKSPACE)).encode()
        return content[-self._limits.kept_output :].decode(errors="ignore")


@dataclass(frozen=True)
class _Examination:
    """A submission with its hidden tests, and a last one that shows that the run came to its end."""

    source: str
    tests: tuple[str, ...]
    """Full names."""
    filters: tuple[str, ...]
    """What the names of these tests, and of no others, begin with."""
    last: str

    @classmethod
    def of(cls, submission: Submission) -> "_Examination":
        module = _module_path(submission.card_file)
        paths = rust.test_paths(submission.tests)
        modules = sorted({path.partition("::")[0] for path in paths}, key="{}::".format)
        # It sorts after the last of the tests' own modules, and so runs after them: `_` follows `:`.
        name = f"{modules[-1]}_end_{secrets.token_hex(8)}"
        ending = f"#[cfg(test)]\nmod {name} {{\n    #[test]\n    fn reached() {{}}\n}}\n"
        source = "\n".join((submission.source, submission.tests, ending))
        tests = tuple(f"{module}::{path}" for path in paths)
        filters = tuple(f"{module}::{each}" for each in modules)
        return cls(source, tests, filters, last=f"{module}::{name}::reached")

    def grade(self, tests: Completed, compile_output: str, test_output: str, phases: Mapping[str, float]) -> Grade:
        """What the end of the test process is worth."""
        total = len(self.tests)
        try:
            results = self._results(tests)
        except _Ended as ended:
            return _zero(
                total,
                ended.kind,
                str(ended),
                compile_output=compile_output,
                test_output=test_output,
                phases=phases,
            )
        passed = len(results.passed)
        failure = None
        if passed < total:
            missing = [name.rpartition("::")[2] for name in self.tests if name not in results.passed]
            message = f"{total - passed} of {total} tests failed: {', '.join(missing)}"
            failure = Failure(FailureKind.TESTS_FAILED, message)
        return Grade(reward(passed, total), passed, total, failure, compile_output, test_output, dict(phases))

    def _results(self, tests: Completed) -> libtest.Results:
        if tests.timed_out:
            raise _Ended(FailureKind.TEST_TIMEOUT, f"the tests ran longer than {tests.duration:.0f} s")
        if tests.output_exceeded or tests.output_cut:
            raise _Ended(FailureKind.OUTPUT_FLOOD, "the test process printed without end")
        if tests.signal is not None:
            raise _Ended(FailureKind.TEST_PROCESS_DIED, f"the test process was ended by signal {tests.signal}")
        try:
            return libtest.parse(tests.stdout, tests.exit_code or 0, self.tests, self.last)
        except libtest.Incomplete as error:
            message = f"{error} (exit code {tests.exit_code})"
            raise _Ended(FailureKind.TEST_PROCESS_DIED, message) from error
        except libtest.Forged as error:
            raise _Ended(FailureKind.FORGED_RESULTS, str(error)) from error


class _Ended(Exception):
    """The test process did not end as it should."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def _module_path(card_file: str) -> str:
    """`src/aa/cards/aa_001_x.rs` -> `aa::cards::aa_001_x`."""
    parts = PurePosixPath(card_file).with_suffix("").parts
    return "::".join(part for part in parts[1:] if part != "mod")


def _zero(
    total: int,
    kind: FailureKind,
    message: str,
    *,
    compile_output: str = "",
    test_output: str = "",
    phases: Mapping[str, float] | None = None,
) -> Grade:
    return Grade(0.0, 0, total, Failure(kind, message), compile_output, test_output, dict(phases or {}))
