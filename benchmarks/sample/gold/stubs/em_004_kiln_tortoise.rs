//! Kiln Tortoise (em-004), Emberfall Marches.

use crate::engine::{Attack, CreatureSpec, Element, Game, RuleError, Side, Stage};

pub static CARD: CreatureSpec = CreatureSpec {
    id: "em-004",
    name: "Kiln Tortoise",
    stage: Stage::Basic,
    evolves_from: None,
    hp: 110,
    element: Element::Flame,
    weakness: Some(Element::Tide),
    resistance: None,
    retreat_cost: 3,
    abilities: &[],
    attacks: &[
        Attack {
            name: "Banked Heat",
            cost: &[Element::Flame, Element::Plain],
            damage: 10,
            text: "Does 10 damage plus 20 more damage for each Flame energy attached to this creature beyond the \
                first (Wild energy counts as Flame energy). You can't add more than 60 damage in this way.",
            effect: banked_heat,
        },
        Attack {
            name: "Vent",
            cost: &[Element::Plain],
            damage: 40,
            text: "Discard 1 energy attached to this creature, of your choice (the options are its energy in the \
                order attached). If you can't, this attack does nothing.",
            effect: vent,
        },
    ],
};

/// **Banked Heat**: Does 10 damage plus 20 more damage for each Flame energy attached to this creature beyond
/// the first (Wild energy counts as Flame energy). You can't add more than 60 damage in this way.
pub fn banked_heat(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    todo!()
}

/// **Vent**: Discard 1 energy attached to this creature, of your choice (the options are its energy in the
/// order attached). If you can't, this attack does nothing.
pub fn vent(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    todo!()
}
