"""The crate around a card: copying it, and declaring a card in it."""

import shutil
from pathlib import Path, PurePosixPath

from task_app import rust

LEFT_OUT = {"target", ".git"}


def copy_scaffold(scaffold: Path, folder: Path) -> None:
    """Copy the crate without what was built from it into an empty folder."""

    def left_out(copied: str, names: list[str]) -> set[str]:
        return LEFT_OUT.intersection(names) if Path(copied) == scaffold else set()

    shutil.copytree(scaffold, folder, symlinks=True, ignore=left_out, dirs_exist_ok=True)


def declarations(crate: Path, file: PurePosixPath) -> dict[str, str]:
    """The module files that have to change for a source file (both relative to the crate) to be compiled, and to what.

    A file `src/a/b/c.rs` needs `mod c` in its folder's module, that `mod b` in its own, and so on up to `lib.rs`.
    """
    changed = {}
    module, folder = crate / file.with_suffix(""), crate / file.parent
    while True:
        parent = crate / "src" / "lib.rs" if folder == crate / "src" else _module_file(folder)
        text = parent.read_text() if parent.exists() else ""
        if not rust.module_declared(text, module.name):
            separator = "" if not text or text.endswith("\n") else "\n"
            changed[str(parent.relative_to(crate))] = f"{text}{separator}pub mod {module.name};\n"
        if folder == crate / "src":
            return changed
        module, folder = folder, folder.parent


def blanked(stub: str, tests: str) -> str:
    """The stub without the body of each `pub fn` that the tests exercise: some stubs hold one that works."""
    named = {token.text for token in rust.code(tests) if token.kind is rust.Kind.IDENTIFIER}
    return rust.blank_bodies(stub, named)


def _module_file(folder: Path) -> Path:
    """Where the module of a folder stands: beside it (`cards.rs`) or, in the older way that is the default, within."""
    beside = folder.with_suffix(".rs")
    return beside if beside.is_file() else folder / "mod.rs"
