//! Wildfire Lynx (em-010), Emberfall Marches.

use crate::engine::{
    Ability, AbilityKind, Attack, Condition, CreatureSpec, Element, Game, Place, RuleError, Side, Stage,
};

pub static CARD: CreatureSpec = CreatureSpec {
    id: "em-010",
    name: "Wildfire Lynx",
    stage: Stage::Basic,
    evolves_from: None,
    hp: 80,
    element: Element::Flame,
    weakness: Some(Element::Tide),
    resistance: None,
    retreat_cost: 2,
    abilities: &[Ability {
        name: "Light Feet",
        text: "As long as your opponent's active creature is Burned, this creature's retreat cost is 0.",
        kind: AbilityKind::RetreatCost(light_feet),
    }],
    attacks: &[Attack {
        name: "Leaping Flames",
        cost: &[Element::Flame, Element::Plain],
        damage: 20,
        text: "After damaging the active creature, you may choose up to 2 of your opponent's benched creatures \
            (you make one choice; the options are that bench in order). This attack does 20 damage to each of \
            them. (Weakness and resistance don't apply to benched creatures.) If you chose none, or there are \
            none, your opponent's active creature is now Burned.",
        effect: leaping_flames,
    }],
};

/// **Light Feet**: As long as your opponent's active creature is Burned, this creature's retreat cost is 0.
pub fn light_feet(game: &Game, own: Place, cost: usize) -> usize {
    let burned = game
        .active(own.side.other())
        .is_ok_and(|c| c.conditions.has(Condition::Burned));
    if burned {
        0
    } else {
        cost
    }
}

/// **Leaping Flames**: After damaging the active creature, you may choose up to 2 of your opponent's benched
/// creatures (you make one choice; the options are that bench in order). This attack does 20 damage to each of
/// them. (Weakness and resistance don't apply to benched creatures.) If you chose none, or there are none, your
/// opponent's active creature is now Burned.
pub fn leaping_flames(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    let damage = game.strike(side, 20)?;
    let benched = game.bench_places(side.other());
    let question = "Choose up to 2 benched creatures to damage";
    let chosen = game.prompts.pick(side, question, benched.len(), 0..=2)?;
    for &position in &chosen {
        game.hit(side, benched[position], 20)?;
    }
    if chosen.is_empty() {
        game.inflict(side.other(), Condition::Burned)?;
    }
    Ok(damage)
}
