//! Deep Warden (sc-006), Sunken Choir.

use crate::engine::{Attack, CreatureSpec, Effect, EffectKind, Element, Game, Place, RuleError, Side, Stage};

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
    let damage = game.strike(side, 20)?;
    let chained = Effect::next_turn(EffectKind::CannotRetreat, game.turn);
    game.add_effect(Place::active(side.other()), chained)?;
    let braced = Effect::next_turn(EffectKind::ReduceDamage(20), game.turn);
    game.add_effect(Place::active(side), braced)?;
    Ok(damage)
}

/// **Undertow**: Before doing damage, your opponent switches their active creature with 1 of their benched
/// creatures, of their own choice. This attack then damages the new active creature. If they have no benched
/// creature, this attack does 20 more damage.
pub fn undertow(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    let opponent = side.other();
    let benched = game.player(opponent).bench.len();
    let question = "Choose your new active creature";
    match game.prompts.pick_one(opponent, question, benched)? {
        Some(position) => {
            game.switch_active(opponent, position)?;
            game.strike(side, 40)
        }
        None => game.strike(side, 60),
    }
}
