//! Lantern Eel (sc-004), Sunken Choir.

use crate::engine::{Attack, CreatureSpec, Element, Game, RuleError, Side, Stage};

pub static CARD: CreatureSpec = CreatureSpec {
    id: "sc-004",
    name: "Lantern Eel",
    stage: Stage::Basic,
    evolves_from: None,
    hp: 70,
    element: Element::Storm,
    weakness: Some(Element::Stone),
    resistance: None,
    retreat_cost: 1,
    abilities: &[],
    attacks: &[
        Attack {
            name: "Jolt",
            cost: &[Element::Storm],
            damage: 20,
            text: "If your opponent has more cards in their hand than you have in yours, this attack does 30 more \
                damage.",
            effect: jolt,
        },
        Attack {
            name: "Lure Light",
            cost: &[Element::Plain],
            damage: 0,
            text: "Draw cards until you have as many cards in your hand as your opponent has in theirs, but not \
                more than 4.",
            effect: lure_light,
        },
    ],
};

/// **Jolt**: If your opponent has more cards in their hand than you have in yours, this attack does 30 more
/// damage.
pub fn jolt(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    let behind = game.player(side).hand.len() < game.player(side.other()).hand.len();
    game.strike(side, if behind { 50 } else { 20 })
}

/// **Lure Light**: Draw cards until you have as many cards in your hand as your opponent has in theirs, but not
/// more than 4.
pub fn lure_light(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    const FULL_HAND: usize = 4;
    let wanted = game.player(side.other()).hand.len().min(FULL_HAND);
    let missing = wanted.saturating_sub(game.player(side).hand.len());
    game.draw(side, missing);
    Ok(0)
}
