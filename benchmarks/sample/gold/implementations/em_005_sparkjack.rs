//! Sparkjack (em-005), Emberfall Marches.

use crate::engine::{
    Attack, Coin, Condition, CreatureSpec, Effect, EffectKind, Element, Game, Place, RuleError, Side, Stage,
};

pub static CARD: CreatureSpec = CreatureSpec {
    id: "em-005",
    name: "Sparkjack",
    stage: Stage::Basic,
    evolves_from: None,
    hp: 60,
    element: Element::Storm,
    weakness: Some(Element::Stone),
    resistance: None,
    retreat_cost: 1,
    abilities: &[],
    attacks: &[
        Attack {
            name: "Triple Spark",
            cost: &[Element::Storm, Element::Plain],
            damage: 20,
            text: "Flip 3 coins. This attack does 20 damage for each heads. If none of them is heads, this \
                creature is now Dazed.",
            effect: triple_spark,
        },
        Attack {
            name: "Long Fuse",
            cost: &[Element::Storm],
            damage: 0,
            text: "Flip a coin until you get tails. During your next turn, this creature's attacks do 10 more \
                damage for each heads (before weakness and resistance).",
            effect: long_fuse,
        },
    ],
};

/// **Triple Spark**: Flip 3 coins. This attack does 20 damage for each heads. If none of them is heads, this
/// creature is now Dazed.
pub fn triple_spark(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    let heads = game.count_heads(3) as u32;
    if heads == 0 {
        game.inflict(side, Condition::Dazed)?;
    }
    game.strike(side, 20 * heads)
}

/// **Long Fuse**: Flip a coin until you get tails. During your next turn, this creature's attacks do 10 more
/// damage for each heads (before weakness and resistance).
pub fn long_fuse(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    let mut heads = 0;
    while game.flip() == Coin::Heads {
        heads += 1;
    }
    let boost = Effect::turn_after_next(EffectKind::BoostDamage(10 * heads), game.turn);
    game.add_effect(Place::active(side), boost)?;
    Ok(0)
}
