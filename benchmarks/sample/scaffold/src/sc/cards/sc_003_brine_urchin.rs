//! Brine Urchin (sc-003), Sunken Choir.

use crate::engine::{Attack, CreatureSpec, Element, Game, RuleError, Side, Stage};

pub static CARD: CreatureSpec = CreatureSpec {
    id: "sc-003",
    name: "Brine Urchin",
    stage: Stage::Basic,
    evolves_from: None,
    hp: 50,
    element: Element::Tide,
    weakness: Some(Element::Storm),
    resistance: None,
    retreat_cost: 1,
    abilities: &[],
    attacks: &[Attack {
        name: "Prick",
        cost: &[Element::Plain],
        damage: 10,
        text: "Flip a coin. If heads, your opponent's active creature is now Poisoned.",
        effect: prick,
    }],
};

/// **Prick**: Flip a coin. If heads, your opponent's active creature is now Poisoned.
pub fn prick(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    todo!()
}
