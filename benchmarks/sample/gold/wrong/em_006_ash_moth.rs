//! Ash Moth (em-006), Emberfall Marches.

use crate::engine::{
    Ability, AbilityKind, Attack, Condition, CreatureSpec, Element, Game, Place, RuleError, Side, Stage,
};

pub static CARD: CreatureSpec = CreatureSpec {
    id: "em-006",
    name: "Ash Moth",
    stage: Stage::Basic,
    evolves_from: None,
    hp: 60,
    element: Element::Gloom,
    weakness: Some(Element::Flame),
    resistance: Some(Element::Stone),
    retreat_cost: 0,
    abilities: &[Ability {
        name: "Drifting Ash",
        text: "Between turns, if this creature is on your bench and your opponent's active creature is Poisoned, \
            put 10 damage on that creature. (This is not damage done by an attack: nothing changes or prevents \
            it.)",
        kind: AbilityKind::BetweenTurns(drifting_ash),
    }],
    attacks: &[Attack {
        name: "Choking Cloud",
        cost: &[Element::Gloom, Element::Plain],
        damage: 20,
        text: "If your opponent's active creature already has a condition, this attack does 30 more damage. Your \
            opponent's active creature is now Asleep and Poisoned.",
        effect: choking_cloud,
    }],
};

/// **Drifting Ash**: Between turns, if this creature is on your bench and your opponent's active creature is
/// Poisoned, put 10 damage on that creature. (This is not damage done by an attack: nothing changes or prevents
/// it.)
pub fn drifting_ash(game: &mut Game, own: Place) -> Result<(), RuleError> {
    let victim = Place::active(own.side.other());
    if game.creature(victim)?.conditions.has(Condition::Poisoned) {
        game.put_damage(victim, 10)?;
    }
    Ok(())
}

/// **Choking Cloud**: If your opponent's active creature already has a condition, this attack does 30 more
/// damage. Your opponent's active creature is now Asleep and Poisoned.
pub fn choking_cloud(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    game.inflict(side.other(), Condition::Asleep)?;
    game.inflict(side.other(), Condition::Poisoned)?;
    game.strike(side, 50)
}
