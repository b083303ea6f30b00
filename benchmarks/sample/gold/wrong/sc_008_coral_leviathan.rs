//! Coral Leviathan (sc-008), Sunken Choir.

use crate::engine::{Ability, AbilityKind, Attack, CreatureSpec, Element, Game, Hit, Place, RuleError, Side, Stage};

pub static CARD: CreatureSpec = CreatureSpec {
    id: "sc-008",
    name: "Coral Leviathan",
    stage: Stage::Second,
    evolves_from: Some("Coral Serpent"),
    hp: 150,
    element: Element::Tide,
    weakness: Some(Element::Storm),
    resistance: Some(Element::Flame),
    retreat_cost: 4,
    abilities: &[Ability {
        name: "Reef Wall",
        text: "As long as this creature is your active creature, prevent all damage done to your benched \
            creatures by attacks of your opponent's creatures. (It doesn't change damage done to this \
            creature.)",
        kind: AbilityKind::Shield(reef_wall),
    }],
    attacks: &[
        Attack {
            name: "Pressure",
            cost: &[Element::Tide, Element::Plain],
            damage: 0,
            text: "If your opponent's active creature has more than 30 HP left, put damage on it until it has 30 \
                HP left; otherwise this attack does nothing. (No weakness, resistance, effect or ability \
                changes this damage. The function returns the damage put.)",
            effect: pressure,
        },
        Attack {
            name: "Maelstrom",
            cost: &[Element::Tide, Element::Tide, Element::Plain, Element::Plain],
            damage: 80,
            text: "After doing damage, flip a coin for each energy attached to your opponent's active creature, \
                in the order attached. For each heads, discard that energy.",
            effect: maelstrom,
        },
    ],
};

/// **Reef Wall**: As long as this creature is your active creature, prevent all damage done to your benched
/// creatures by attacks of your opponent's creatures. (It doesn't change damage done to this creature.)
pub fn reef_wall(_game: &Game, own: Place, hit: &Hit) -> u32 {
    if hit.target == own {
        hit.amount
    } else {
        0
    }
}

/// **Pressure**: If your opponent's active creature has more than 30 HP left, put damage on it until it has 30
/// HP left; otherwise this attack does nothing. (No weakness, resistance, effect or ability changes this
/// damage. The function returns the damage put.)
pub fn pressure(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    let depth = game.active(side.other())?.remaining_hp() - 30;
    game.strike(side, depth)
}

/// **Maelstrom**: After doing damage, flip a coin for each energy attached to your opponent's active creature,
/// in the order attached. For each heads, discard that energy.
pub fn maelstrom(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    let target = Place::active(side.other());
    let damage = game.strike(side, 80)?;
    let attached = game.creature(target)?.energy.len();
    let torn_off: Vec<usize> = (0..game.count_heads(attached)).collect();
    game.discard_energy(target, &torn_off)?;
    Ok(damage)
}
