//! Choir Mender (sc-005), Sunken Choir.

use crate::engine::{Ability, AbilityKind, Attack, CreatureSpec, Element, Game, Place, RuleError, Side, Stage};

pub static CARD: CreatureSpec = CreatureSpec {
    id: "sc-005",
    name: "Choir Mender",
    stage: Stage::Basic,
    evolves_from: None,
    hp: 80,
    element: Element::Tide,
    weakness: Some(Element::Storm),
    resistance: None,
    retreat_cost: 1,
    abilities: &[Ability {
        name: "Soothing Hymn",
        text: "Once during your turn, you may heal 20 damage from each of your creatures. If your active creature \
            had no damage on it, end all its conditions instead.",
        kind: AbilityKind::Activated(soothing_hymn),
    }],
    attacks: &[Attack {
        name: "Tuning Wave",
        cost: &[Element::Tide, Element::Plain],
        damage: 30,
        text: "Heal 10 damage from this creature for each creature on your bench.",
        effect: tuning_wave,
    }],
};

/// **Soothing Hymn**: Once during your turn, you may heal 20 damage from each of your creatures. If your active
/// creature had no damage on it, end all its conditions instead.
pub fn soothing_hymn(game: &mut Game, own: Place) -> Result<(), RuleError> {
    todo!()
}

/// **Tuning Wave**: Heal 10 damage from this creature for each creature on your bench.
pub fn tuning_wave(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    todo!()
}
