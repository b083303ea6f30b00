//! Sparkjack (em-005), Emberfall Marches.

use crate::engine::{Attack, CreatureSpec, Element, Game, RuleError, Side, Stage};

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
    todo!()
}

/// **Long Fuse**: Flip a coin until you get tails. During your next turn, this creature's attacks do 10 more
/// damage for each heads (before weakness and resistance).
pub fn long_fuse(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    todo!()
}
