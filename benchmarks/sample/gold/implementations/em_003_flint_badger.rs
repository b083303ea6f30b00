//! Flint Badger (em-003), Emberfall Marches.

use crate::engine::{Attack, CreatureSpec, Element, Game, RuleError, Side, Stage, Strike};

pub static CARD: CreatureSpec = CreatureSpec {
    id: "em-003",
    name: "Flint Badger",
    stage: Stage::Basic,
    evolves_from: None,
    hp: 70,
    element: Element::Stone,
    weakness: Some(Element::Root),
    resistance: None,
    retreat_cost: 1,
    abilities: &[],
    attacks: &[
        Attack {
            name: "Flint Nip",
            cost: &[Element::Stone],
            damage: 20,
            text: "",
            effect: flint_nip,
        },
        Attack {
            name: "Dig Through",
            cost: &[Element::Stone, Element::Plain],
            damage: 40,
            text: "This attack's damage isn't affected by resistance.",
            effect: dig_through,
        },
    ],
};

/// **Flint Nip**: 20 damage.
pub fn flint_nip(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    game.strike(side, 20)
}

/// **Dig Through**: This attack's damage isn't affected by resistance.
pub fn dig_through(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    game.strike(side, Strike::from(40).ignoring_resistance())
}
