//! Fixtures for tests of cards: simple creatures, ready-made tables, seeds for given coin flips.

use super::card::{Attack, CreatureSpec, Element, Energy, Stage};
use super::creature::Creature;
use super::error::RuleError;
use super::game::{Game, Side};
use super::rng::{Coin, Rng};

/// A basic creature without any feature, to build others from:
/// `CreatureSpec { weakness: Some(Element::Flame), ..dummy("reed", Element::Root, 60) }`.
pub const fn dummy(name: &'static str, element: Element, hp: u32) -> CreatureSpec {
    CreatureSpec {
        id: name,
        name,
        stage: Stage::Basic,
        evolves_from: None,
        hp,
        element,
        weakness: None,
        resistance: None,
        retreat_cost: 0,
        abilities: &[],
        attacks: &[],
    }
}

/// A sturdy stone creature: no weakness, no resistance, retreat cost 2, a free attack that does 20.
pub static GOLEM: CreatureSpec = CreatureSpec {
    retreat_cost: 2,
    attacks: &[Attack {
        name: "Thud",
        cost: &[],
        damage: 20,
        text: "",
        effect: thud,
    }],
    ..dummy("golem", Element::Stone, 120)
};

fn thud(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    game.strike(side, 20)
}

/// Turn 3, `Side::First` to move: `mine` is its active creature, `theirs` is the opponent's; all else is empty.
pub fn duel(mine: &'static CreatureSpec, theirs: &'static CreatureSpec) -> Game {
    seeded_duel(mine, theirs, 0)
}

/// As [`duel`], with a seed of choice.
pub fn seeded_duel(mine: &'static CreatureSpec, theirs: &'static CreatureSpec, seed: u64) -> Game {
    let mut game = Game::new(seed);
    game.turn = 3;
    game.player_mut(Side::First).active = Some(Creature::new(mine, 1));
    game.player_mut(Side::Second).active = Some(Creature::new(theirs, 1));
    game
}

/// Puts creatures on a bench, unharmed, in this order.
pub fn fill_bench(game: &mut Game, side: Side, specs: &[&'static CreatureSpec]) {
    let creatures = specs.iter().map(|spec| Creature::new(spec, 1));
    game.player_mut(side).bench.extend(creatures);
}

/// Attaches `count` basic energy of one element to the active creature.
pub fn charge(game: &mut Game, side: Side, element: Element, count: usize) {
    let creature = game.active_mut(side).expect("an active creature to charge");
    for _ in 0..count {
        creature.energy.push(Energy::Basic(element));
    }
}

/// The smallest seed with which a new game's first flips come out like this.
pub fn seed_for(flips: &[Coin]) -> u64 {
    let fits = |seed: &u64| {
        let mut rng = Rng::new(*seed);
        flips.iter().all(|coin| rng.flip() == *coin)
    };
    (0..).find(fits).expect("some seed fits")
}
