"""The Rust toolchain, found once, usable inside a jail without rustup."""

import asyncio
import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from task_app import processes
from task_app.build_cache import BuildCache
from task_app.errors import InfrastructureFailure
from task_app.isolation import SYSTEM_PATH, Isolation
from task_app.jail_root import SYSTEM_DIRECTORIES, Bind

_JAILED = Path("/toolchain")
_DOWNLOAD_TIMEOUT = 600
_RUSTUP_READS = {"PATH", "HOME", "RUSTUP_HOME", "CARGO_HOME", "RUSTUP_TOOLCHAIN"}


@dataclass(frozen=True)
class Toolchain:
    """A sysroot with its `bin/cargo` and `bin/rustc`."""

    sysroot: Path
    _environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What of the user's environment rustup and cargo go by, outside of jails."""

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
        toolchain = cls(Path(found.stdout.strip()), env)
        if found.exit_code != 0 or not toolchain.cargo.exists():
            raise InfrastructureFailure(f"'{rustc} --print sysroot' names no toolchain with a cargo: {found.stderr}")
        return toolchain

    @property
    def cargo(self) -> Path:
        """On this machine, not in a jail."""
        return self.sysroot / "bin/cargo"

    async def version(self) -> str:
        """What `rustc -vV` says."""
        rustc = [str(self.sysroot / "bin/rustc"), "-vV"]
        return (await processes.run(rustc, cwd=self.sysroot, env=self._environment, timeout=60)).stdout

    def binds(self) -> tuple[Bind, ...]:
        if any(self.sysroot.is_relative_to(directory) for directory in SYSTEM_DIRECTORIES):
            return ()
        return (Bind(self.sysroot, _JAILED),)

    def environment(self, isolation: Isolation) -> dict[str, str]:
        """For cargo to find its rustc, work without a network, and print plainly."""
        moved = isolation.has_own_root and bool(self.binds())
        binaries = (_JAILED if moved else self.sysroot) / "bin"
        return {"PATH": f"{binaries}:{SYSTEM_PATH}", "CARGO_NET_OFFLINE": "true", "CARGO_TERM_COLOR": "never"}

    async def vendor(self, crate: Path, cache: BuildCache) -> None:
        """Put the crate's dependencies into it, if it has any that are elsewhere, so that it builds without a network.

        Downloading is done outside of any jail, by the user's cargo settings; it builds and runs nothing.

        Raises:
            InfrastructureFailure: they can't be downloaded.
        """
        lock, config = crate / "Cargo.lock", crate / ".cargo/config.toml"
        if config.exists() or (lock.exists() and "\nsource = " not in lock.read_text()):
            return
        name = f"dependencies-{_manifests(crate)}"
        if await cache.restore(name, crate):
            return
        await asyncio.to_thread(_write, config, await self._download(crate))
        await cache.store(name, crate, parts=("vendor", ".cargo", "Cargo.lock"))

    async def _download(self, crate: Path) -> str:
        """Returns the settings that cargo will need."""
        env = {**self._environment, "PATH": f"{self.cargo.parent}:{self._environment.get('PATH', SYSTEM_PATH)}"}
        vendored = await processes.run([str(self.cargo), "vendor"], cwd=crate, env=env, timeout=_DOWNLOAD_TIMEOUT)
        if vendored.exit_code != 0:
            raise InfrastructureFailure(
                f"The dependencies of the benchmark's crate can't be downloaded ('cargo vendor'):\n{vendored.stderr}"
            )
        return vendored.stdout


def _write(config: Path, text: str) -> None:
    config.parent.mkdir(exist_ok=True)
    config.write_text(text)


def _manifests(crate: Path) -> str:
    """SHA-256 in hex of all that says what a crate depends on."""
    content = hashlib.sha256()
    for path in sorted([*crate.rglob("Cargo.toml"), crate / "Cargo.lock"]):
        content.update(f"{path.relative_to(crate)}\0".encode() + (path.read_bytes() if path.exists() else b"") + b"\0")
    return content.hexdigest()
