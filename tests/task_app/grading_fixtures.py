"""A small crate with one card, its hidden tests, and a grader for it: enough to attack."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from task_app.grading import Grader, GradingLimits, Submission
from task_app.isolation import Isolation, Level

MANIFEST = '[package]\nname = "tiny_engine"\nversion = "0.1.0"\nedition = "2021"\n\n[workspace]\n'
LOCK = 'version = 3\n\n[[package]]\nname = "tiny_engine"\nversion = "0.1.0"\n'
CARD_FILE = "src/cards/ember_fox.rs"

ENGINE = """\
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Game { pub damage: u32, pub heads: u32 }

impl Game {
    pub fn hit(&mut self, amount: u32) -> u32 { self.damage += amount; amount }
}
"""

STUB = """\
//! Ember Fox.

use crate::engine::Game;

/// Does 10 damage for each heads.
pub fn scorch(game: &mut Game) -> u32 {
    todo!()
}

/// Whether the fox may rest.
pub fn rest(game: &Game) -> Option<u32> {
    todo!()
}
"""

GOLD = """\
//! Ember Fox.

use crate::engine::Game;

/// Does 10 damage for each heads.
pub fn scorch(game: &mut Game) -> u32 {
    let amount = 10 * game.heads;
    game.hit(amount)
}

/// Whether the fox may rest.
pub fn rest(game: &Game) -> Option<u32> {
    (game.heads == 0).then_some(game.damage)
}
"""

TESTS = """\
#[cfg(test)]
mod eval_tests {
    use super::*;

    #[test]
    fn scorch_does_nothing_without_heads() {
        assert_eq!(scorch(&mut Game::default()), 0);
    }

    #[test]
    fn scorch_does_10_for_each_heads() {
        let mut game = Game { heads: 3, ..Game::default() };
        assert_eq!(scorch(&mut game), 30);
        assert_eq!(game.damage, 30);
    }

    #[test]
    fn rest_needs_tails() {
        assert!(rest(&Game { heads: 1, ..Game::default() }).is_none());
    }

    #[test]
    fn rest_tells_the_damage() {
        assert_eq!(rest(&Game { damage: 20, heads: 0 }), Some(20));
    }
}
"""

NAMES = (
    "scorch_does_nothing_without_heads",
    "scorch_does_10_for_each_heads",
    "rest_needs_tails",
    "rest_tells_the_damage",
)


def submission(source: str) -> Submission:
    return Submission(card_file=CARD_FILE, source=source, tests=TESTS, stub=STUB)


def with_scorch(body: str) -> str:
    """The gold card, but for the body of `scorch`."""
    head, _, rest = GOLD.partition("    let amount")
    return head + body + rest[rest.index("\n}") :]


def write_scaffold(folder: Path) -> Path:
    files = {
        "Cargo.toml": MANIFEST,
        "Cargo.lock": LOCK,
        "src/lib.rs": "pub mod cards;\npub mod engine;\n",
        "src/engine.rs": ENGINE,
        "src/cards/mod.rs": "pub mod ember_fox;\n",
        CARD_FILE: STUB,
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


@contextmanager
def open_directory() -> Iterator[Path]:
    """A directory that every user can reach, unlike pytest's."""
    directory = Path(tempfile.mkdtemp(prefix="engine-bench-test-"))
    try:
        directory.chmod(0o755)
        yield directory
    finally:
        shutil.rmtree(directory)


@asynccontextmanager
async def warm_grader(
    level: Level | None = None, slots: int = 1, limits: GradingLimits | None = None
) -> AsyncIterator[Grader]:
    """A grader for the small crate; `level` None: what the machine allows."""
    with open_directory() as directory:
        scaffold = write_scaffold(directory / "scaffold")
        isolation = await Isolation.detect(directory) if level is None else Isolation(level)
        grader = Grader(scaffold, directory / "work", isolation=isolation, slots=slots, limits=limits)
        await grader.warm()
        try:
            yield grader
        finally:
            await grader.close()


def available_levels() -> list[Level]:
    """The levels that can be tried on any machine that reaches the first of them."""
    return [Level.NAMESPACE, Level.USER, Level.PROCESS] if os.geteuid() == 0 else [Level.PROCESS]
