//! Pyre Stag (em-007), Emberfall Marches.

use crate::engine::game::take;
use crate::engine::{
    Ability, AbilityKind, Attack, Card, CreatureSpec, Element, Energy, Game, Place, RuleError, Side, Stage,
};

pub static CARD: CreatureSpec = CreatureSpec {
    id: "em-007",
    name: "Pyre Stag",
    stage: Stage::First,
    evolves_from: Some("Kindle Fawn"),
    hp: 100,
    element: Element::Flame,
    weakness: Some(Element::Tide),
    resistance: None,
    retreat_cost: 1,
    abilities: &[Ability {
        name: "Rekindle",
        text: "When you play this card from your hand to evolve a creature, you may choose up to 2 basic Flame \
            energy cards in your discard pile and attach them to this creature. (You make one choice; the \
            options are those cards only, in the order in which they lie in the discard pile; Wild energy is \
            not basic.)",
        kind: AbilityKind::OnEvolve(rekindle),
    }],
    attacks: &[Attack {
        name: "Antler Blaze",
        cost: &[Element::Flame, Element::Flame, Element::Plain],
        damage: 50,
        text: "Heal from this creature half the damage done to your opponent's active creature, rounded down to a \
            multiple of 10.",
        effect: antler_blaze,
    }],
};

/// **Rekindle**: When you play this card from your hand to evolve a creature, you may choose up to 2 basic
/// Flame energy cards in your discard pile and attach them to this creature. (You make one choice; the options
/// are those cards only, in the order in which they lie in the discard pile; Wild energy is not basic.)
pub fn rekindle(game: &mut Game, own: Place) -> Result<(), RuleError> {
    let flame = Card::Energy(Energy::Basic(Element::Flame));
    let discard = &game.player(own.side).discard;
    let flames: Vec<usize> = (0..discard.len()).filter(|&i| discard[i] == flame).collect();
    let question = "Choose up to 2 Flame energy to attach";
    let chosen = game.prompts.pick(own.side, question, flames.len(), 0..=2)?;
    let positions: Vec<usize> = chosen.iter().map(|&i| flames[i]).collect();
    let cards = take(&mut game.player_mut(own.side).discard, &positions)?;
    let energy = cards.into_iter().filter_map(Card::as_energy);
    game.creature_mut(own)?.energy.extend(energy);
    Ok(())
}

/// **Antler Blaze**: Heal from this creature half the damage done to your opponent's active creature, rounded
/// down to a multiple of 10.
pub fn antler_blaze(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    let damage = game.strike(side, 50)?;
    game.heal(Place::active(side), damage / 20 * 10)?;
    Ok(damage)
}
