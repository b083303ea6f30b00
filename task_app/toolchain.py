"""The Rust toolchain, found once, usable inside a jail without rustup."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from task_app import processes
from task_app.errors import InfrastructureFailure
from task_app.isolation import SYSTEM_PATH, Isolation
from task_app.jail_root import SYSTEM_DIRECTORIES, Bind

_JAILED = Path("/toolchain")
_RUSTUP_READS = {"PATH", "HOME", "RUSTUP_HOME", "CARGO_HOME", "RUSTUP_TOOLCHAIN"}


@dataclass(frozen=True)
class Toolchain:
    """A sysroot with its `bin/cargo` and `bin/rustc`."""

    sysroot: Path

    @classmethod
    async def detect(cls, directory: Path, environment: Mapping[str, str] = os.environ) -> "Toolchain":
        """The toolchain that `rustc` stands for in `directory`, where a toolchain file may pin it.

        Args:
            environment: its PATH, HOME, CARGO_HOME and RUSTUP_* variables count.

        Raises:
            InfrastructureFailure: no rustc or cargo there.
        """
        path = environment.get("PATH", SYSTEM_PATH)
        rustc = shutil.which("rustc", path=path)
        if rustc is None or shutil.which("cargo", path=path) is None:
            raise InfrastructureFailure(
                "Grading Rust needs 'cargo' and 'rustc', which are not on PATH. Install them from https://rustup.rs."
            )
        env = {name: value for name, value in environment.items() if name in _RUSTUP_READS}
        found = await processes.run([rustc, "--print", "sysroot"], cwd=directory, env=env, timeout=60)
        sysroot = Path(found.stdout.strip())
        if found.exit_code != 0 or not cls(sysroot).cargo.exists():
            raise InfrastructureFailure(f"'{rustc} --print sysroot' names no toolchain with a cargo: {found.stderr}")
        return cls(sysroot)

    @property
    def cargo(self) -> Path:
        """On this machine, not in a jail."""
        return self.sysroot / "bin/cargo"

    def binds(self) -> tuple[Bind, ...]:
        if any(self.sysroot.is_relative_to(directory) for directory in SYSTEM_DIRECTORIES):
            return ()
        return (Bind(self.sysroot, _JAILED),)

    def environment(self, isolation: Isolation) -> dict[str, str]:
        """For cargo to find its rustc, work without a network, and print plainly."""
        moved = isolation.has_own_root and bool(self.binds())
        binaries = (_JAILED if moved else self.sysroot) / "bin"
        return {"PATH": f"{binaries}:{SYSTEM_PATH}", "CARGO_NET_OFFLINE": "true", "CARGO_TERM_COLOR": "never"}
