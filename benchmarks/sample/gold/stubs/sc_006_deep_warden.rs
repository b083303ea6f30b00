//! Deep Warden (sc-006), Sunken Choir.

use crate::engine::{Attack, CreatureSpec, Element, Game, RuleError, Side, Stage};

pub static CARD: CreatureSpec = CreatureSpec {
    id: "sc-006",
    name: "Deep Warden",
    stage: Stage::Basic,
    evolves_from: None,
    hp: 100,
    element: Element::Gloom,
    weakness: Some(Element::Flame),
    resistance: Some(Element::Tide),
    retreat_cost: 3,
    abilities: &[],
    attacks: &[
        Attack {
            name: "Iron Anchor",
            cost: &[Element::Gloom],
            damage: 20,
            text: "During your opponent's next turn, your opponent's active creature can't retreat, and damage \
                done to this creature by attacks is reduced by 20 (after weakness and resistance).",
            effect: iron_anchor,
        },
        Attack {
            name: "Undertow",
            cost: &[Element::Gloom, Element::Plain],
            damage: 40,
            text: "Before doing damage, your opponent switches their active creature with 1 of their benched \
                creatures, of their own choice. This attack then damages the new active creature. If they have \
                no benched creature, this attack does 20 more damage.",
            effect: undertow,
        },
    ],
};

/// **Iron Anchor**: During your opponent's next turn, your opponent's active creature can't retreat, and damage
/// done to this creature by attacks is reduced by 20 (after weakness and resistance).
pub fn iron_anchor(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    todo!()
}

/// **Undertow**: Before doing damage, your opponent switches their active creature with 1 of their benched
/// creatures, of their own choice. This attack then damages the new active creature. If they have no benched
/// creature, this attack does 20 more damage.
pub fn undertow(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    todo!()
}
