//! Pyre Stag (em-007), Emberfall Marches.

use crate::engine::{Ability, AbilityKind, Attack, CreatureSpec, Element, Game, Place, RuleError, Side, Stage};

pub static CARD: CreatureSpec = CreatureSpec {
    id: "em-007",
    name: "Pyre Stag",
    stage: Stage::First,
    evolves_from: Some("Kindle Fawn"),
    hp: 100,
    element: Element::Flame,
    weakness: Some(Element::Tide),
    resistance: None,
    retreat_cost: 1,
    abilities: &[Ability {
        name: "Rekindle",
        text: "When you play this card from your hand to evolve a creature, you may choose up to 2 basic Flame \
            energy cards in your discard pile and attach them to this creature. (You make one choice; the \
            options are those cards only, in the order in which they lie in the discard pile; Wild energy is \
            not basic.)",
        kind: AbilityKind::OnEvolve(rekindle),
    }],
    attacks: &[Attack {
        name: "Antler Blaze",
        cost: &[Element::Flame, Element::Flame, Element::Plain],
        damage: 50,
        text: "Heal from this creature half the damage done to your opponent's active creature, rounded down to a \
            multiple of 10.",
        effect: antler_blaze,
    }],
};

/// **Rekindle**: When you play this card from your hand to evolve a creature, you may choose up to 2 basic
/// Flame energy cards in your discard pile and attach them to this creature. (You make one choice; the options
/// are those cards only, in the order in which they lie in the discard pile; Wild energy is not basic.)
pub fn rekindle(game: &mut Game, own: Place) -> Result<(), RuleError> {
    todo!()
}

/// **Antler Blaze**: Heal from this creature half the damage done to your opponent's active creature, rounded
/// down to a multiple of 10.
pub fn antler_blaze(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    todo!()
}
