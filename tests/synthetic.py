"""Writes benchmarks of any size in the classic and in the Harbor layout, with cards of no particular game.

Both hold the same instances. Those of the second expansion are not declared in the crate, some stubs hold a body that
works, and the hidden tests are spread over two modules, as in the real EngineBench.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

SETS = ("df", "hp")
CRATE = '[package]\nname = "tcg_expansions"\nversion = "0.1.0"\nedition = "2021"\n\n[workspace]\n'
LOCK = 'version = 3\n\n[[package]]\nname = "tcg_expansions"\nversion = "0.1.0"\n'
TASK_TOML = """\
version = "1.0"

[metadata]
benchmark = "engine-bench"
set = "{set}"
card_name = "Specimen {number}"
difficulty = "medium"

[agent]
timeout_sec = 600

[verifier]
timeout_sec = 300

[environment]
cpus = 2
memory_mb = 8192
storage_mb = 10240
"""
TEST_SH = """\
#!/usr/bin/env bash
cat /tests/{module}_eval.rs >> /app/{file}
mkdir -p /logs/verifier
cd /app
if ! cargo check --offline > /logs/verifier/check.txt 2>&1; then
  echo '{{"score": 0.0, "tests_passed": 0, "tests_total": 3}}' > /logs/verifier/reward.json
  exit 0
fi
output=$(cargo test --offline --lib -- --test-threads=1 {module} 2>&1)
passed=$(echo "$output" | grep -oE '[0-9]+ passed' | head -1 | grep -oE '[0-9]+')
score=$(awk -v p="${{passed:-0}}" 'BEGIN {{ printf "%.4f", 0.3 + 0.7 * p / 3 }}')
echo "$score" > /logs/verifier/reward.txt
echo "{{\\"score\\": $score, \\"tests_passed\\": ${{passed:-0}}, \\"tests_total\\": 3}}" > /logs/verifier/reward.json
"""
SETUP_SH = """\
#!/usr/bin/env bash
set -eu
cp "$(dirname "$0")/stubs/{module}.rs" /app/{file}
if ! grep -q 'mod {module};' /app/src/{set}/cards/mod.rs; then
  echo 'pub mod {module};' >> /app/src/{set}/cards/mod.rs
fi
"""
CANARY = "<!-- harbor-canary GUID 00000000-0000-0000-0000-000000000000 -->\n"


@dataclass(frozen=True)
class Card:
    """One instance."""

    set: str
    number: int

    @property
    def id(self) -> str:
        return f"{self.set}-{self.number:03}-specimen"

    @property
    def module(self) -> str:
        return self.id.replace("-", "_")

    @property
    def file(self) -> str:
        return f"src/{self.set}/cards/{self.module}.rs"

    def source(self, strike: str, shield: str) -> str:
        return (
            f"//! Specimen {self.number}.\n\nuse crate::engine::Game;\n\n"
            f'pub const NAME: &str = "Specimen {{{self.number}}}";\n\n'
            f"/// Does {self.number} damage for each counter.\n"
            f"pub fn strike(game: &mut Game) -> u32 {strike}\n\n"
            f"/// Whether a counter is left.\npub fn shield(game: &Game) -> bool {shield}\n"
        )

    @property
    def gold(self) -> str:
        strike = f"{{\n    let amount = {self.number} * game.counters;\n    game.hit(amount)\n}}"
        return self.source(strike, "{\n    game.counters > 0\n}")

    @property
    def stub(self) -> str:
        works = "{\n    // TODO: implement\n    game.counters > 0\n}" if self.number % 3 == 0 else "{\n    todo!()\n}"
        return self.source("{\n    todo!()\n}", works)

    @property
    def tests(self) -> str:
        return (
            "#[cfg(test)]\nmod eval_tests {\n    use super::*;\n\n    #[test]\n    fn strike_counts() {\n"
            f"        let mut game = Game {{ counters: 3, damage: 0 }};\n"
            f"        assert_eq!(strike(&mut game), {3 * self.number});\n"
            f"        assert_eq!(game.damage, {3 * self.number});\n    }}\n}}\n\n"
            "#[cfg(test)]\nmod behaviour {\n    use super::*;\n\n    #[test]\n    fn shield_holds() {\n"
            "        assert!(shield(&Game { counters: 1, damage: 0 }));\n    }\n\n"
            "    #[test]\n    fn shield_breaks() {\n        assert!(!shield(&Game::default()));\n    }\n}\n"
        )

    @property
    def cards(self) -> list[dict[str, object]]:
        attack = {"name": "Strike", "text": f"Does {self.number} damage for each counter."}
        stage = ("basic", "stage1", "stage2")[self.number % 3]
        return [{"id": self.id[:6], "name": f"Specimen {self.number}", "stage": stage, "attacks": [attack]}]

    @property
    def tests_told(self) -> list[dict[str, str]]:
        names = ("strike_counts", "shield_holds", "shield_breaks")
        return [{"name": name, "description": f"Checks {name}."} for name in names]


def deck(instances: int) -> list[Card]:
    """So many cards, half of them of each set."""
    return [Card(SETS[index % 2], index // 2 + 1) for index in range(instances)]


def write_classic(folder: Path, instances: int = 150, lines: int = 20_000) -> list[Card]:
    """A clone in the classic layout, with a crate of about so many lines."""
    cards = deck(instances)
    write_crate(folder / "scaffold", lines)
    for card in cards:
        told = {
            "id": card.id,
            "name": f"Specimen {card.number}",
            "card_file": f"tcg_expansions/{card.file}",
            "cards": card.cards,
            "tests": card.tests_told,
        }
        _write(folder / f"data/instances/single/{card.id}.json", json.dumps(told))
        _write(folder / f"gold/stubs/{card.module}.rs", card.stub)
        _write(folder / f"gold/implementations/{card.module}.rs", card.gold)
        _write(folder / f"gold/tests/{card.module}_eval.rs", card.tests)
    return cards


def write_harbor(folder: Path, instances: int = 150, lines: int = 20_000) -> list[Card]:
    """A clone in the Harbor layout, with what its images hold in `harbor-root`."""
    cards = deck(instances)
    write_crate(folder / "harbor-root", lines)
    for card in cards:
        task = folder / "tasks" / card.id
        names = {"module": card.module, "file": card.file, "set": card.set}
        _write(task / "task.toml", TASK_TOML.format(set=card.set.upper(), number=card.number))
        _write(task / "instruction.md", instruction(card))
        _write(task / "environment/Dockerfile", "FROM base\nWORKDIR /app\nCOPY . /setup\nRUN bash /setup/setup.sh\n")
        _write(task / "environment/setup.sh", SETUP_SH.format(**names))
        _write(task / f"environment/stubs/{card.module}.rs", card.stub)
        _write(task / "solution/solve.sh", f"cp /solution/{card.module}.rs /app/{card.file}\n")
        _write(task / f"solution/{card.module}.rs", card.gold)
        _write(task / "tests/test.sh", TEST_SH.format(**names))
        _write(task / f"tests/{card.module}_eval.rs", card.tests)
    return cards


def instruction(card: Card) -> str:
    told = "".join(f"- {test['name']}: {test['description']}\n" for test in card.tests_told)
    return (
        f"{CANARY}\n# Specimen {card.number}\n\nEdit the file `/app/{card.file}` to implement the card below.\n\n"
        f"```json\n{json.dumps(card.cards, indent=2)}\n```\n\n## Tests to Pass\n{told}\n## Notes\n- None.\n"
    )


def write_crate(folder: Path, lines: int) -> None:
    """An engine of parts, and expansions of which the second declares no card."""
    parts = max(1, lines // _part(0).count("\n"))
    declared = "".join(f"pub mod part_{number:03};\n" for number in range(parts))
    _write(folder / "Cargo.toml", CRATE)
    _write(folder / "Cargo.lock", LOCK)
    _write(folder / "src/lib.rs", f"pub mod engine;\npub mod {SETS[0]};\npub mod {SETS[1]};\n")
    for expansion in SETS:
        _write(folder / f"src/{expansion}/mod.rs", "pub mod cards;\n")
        _write(folder / f"src/{expansion}/cards/mod.rs", "")
    _write(folder / "src/engine/mod.rs", f"{declared}\n{_GAME}")
    for number in range(parts):
        _write(folder / f"src/engine/part_{number:03}.rs", _part(number))


def add_dependency(crate: Path, repository: Path) -> None:
    """Make a crate need `dice`, which lies in a repository of its own."""
    _write(repository / "Cargo.toml", '[package]\nname = "dice"\nversion = "1.0.0"\nedition = "2021"\n')
    _write(repository / "src/lib.rs", "pub const SIDES: u32 = 10;\n")
    as_someone = ["git", "-C", str(repository), "-c", "user.name=Test", "-c", "user.email=test@example.invalid"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "Dice"]):
        subprocess.run([*as_someone, *command], check=True)
    with (crate / "Cargo.toml").open("a") as manifest:
        manifest.write(f'[dependencies]\ndice = {{ git = "file://{repository}" }}\n')
    (crate / "Cargo.lock").unlink()


_GAME = """\
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Game {
    pub counters: u32,
    pub damage: u32,
}

impl Game {
    pub fn hit(&mut self, amount: u32) -> u32 {
        self.damage += amount;
        amount
    }
}
"""

_FUNCTION = """\
pub fn rule_{index}(pile: &mut Pile, step: u32) -> Option<u32> {{
    let drawn = pile.draw(step + {index})?;
    let value = match drawn % 3 {{
        0 => drawn.checked_add({number})?,
        1 => drawn.checked_mul(2)?,
        _ => drawn,
    }};
    pile.put(value);
    Some(value)
}}

"""


def _part(number: int) -> str:
    """About a hundred lines that a compiler has to look at."""
    head = f"//! Part {number}.\n\n#[derive(Clone, Debug, Default)]\npub struct Pile {{\n    cards: Vec<u32>,\n}}\n\n"
    body = (
        "impl Pile {\n    pub fn put(&mut self, card: u32) {\n        self.cards.push(card);\n    }\n\n"
        "    pub fn draw(&mut self, step: u32) -> Option<u32> {\n"
        "        let index = self.cards.iter().position(|card| card % (step + 1) == 0)?;\n"
        "        Some(self.cards.remove(index))\n    }\n}\n\n"
    )
    return head + body + "".join(_FUNCTION.format(index=index, number=number) for index in range(7))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
