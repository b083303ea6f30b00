//! Cinder Whelp (em-001), Emberfall Marches: damage, a coin flip, a condition.

use crate::engine::{Attack, Coin, Condition, CreatureSpec, Element, Game, RuleError, Side, Stage};

pub static CARD: CreatureSpec = CreatureSpec {
    id: "em-001",
    name: "Cinder Whelp",
    stage: Stage::Basic,
    evolves_from: None,
    hp: 60,
    element: Element::Flame,
    weakness: Some(Element::Tide),
    resistance: None,
    retreat_cost: 1,
    abilities: &[],
    attacks: &[
        Attack {
            name: "Snap",
            cost: &[Element::Plain],
            damage: 10,
            text: "",
            effect: snap,
        },
        Attack {
            name: "Scorch",
            cost: &[Element::Flame, Element::Plain],
            damage: 20,
            text: "Flip a coin. If heads, your opponent's active creature is now Burned.",
            effect: scorch,
        },
    ],
};

/// **Snap**: 10 damage.
pub fn snap(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    game.strike(side, 10)
}

/// **Scorch**: Flip a coin. If heads, your opponent's active creature is now Burned.
pub fn scorch(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    let damage = game.strike(side, 20)?;
    if game.flip() == Coin::Heads {
        game.inflict(side.other(), Condition::Burned)?;
    }
    Ok(damage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{charge, duel, seed_for, seeded_duel, GOLEM};

    #[test]
    fn attacking_needs_energy() {
        let mut game = duel(&CARD, &GOLEM);
        assert_eq!(game.attack(Side::First, 0), Err(RuleError::NotEnoughEnergy));
        charge(&mut game, Side::First, Element::Root, 1);
        assert_eq!(game.attack(Side::First, 0), Ok(10));
    }

    #[test]
    fn scorch_burns_on_heads_only() {
        for (coin, burned) in [(Coin::Heads, true), (Coin::Tails, false)] {
            let mut game = seeded_duel(&CARD, &GOLEM, seed_for(&[coin]));
            assert_eq!(scorch(&mut game, Side::First), Ok(20));
            let conditions = &game.active(Side::Second).unwrap().conditions;
            assert_eq!(conditions.has(Condition::Burned), burned);
        }
    }
}
