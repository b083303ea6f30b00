//! Pearl Oracle (sc-007), Sunken Choir.

use crate::engine::{Ability, AbilityKind, Attack, CreatureSpec, Element, Game, Place, RuleError, Side, Stage};

pub static CARD: CreatureSpec = CreatureSpec {
    id: "sc-007",
    name: "Pearl Oracle",
    stage: Stage::First,
    evolves_from: Some("Pearl Acolyte"),
    hp: 90,
    element: Element::Tide,
    weakness: Some(Element::Storm),
    resistance: None,
    retreat_cost: 1,
    abilities: &[Ability {
        name: "Second Sight",
        text: "Once during your turn, you may look at the top 3 cards of your deck (fewer if it has fewer), \
            choose 1 of them, and put it into your hand. Put the others on the bottom of your deck in the \
            order in which they lay: the one that was nearer the top stays nearer the top. With an empty deck \
            this ability can't be used: it is prevented. (The options are those cards, the top one first.)",
        kind: AbilityKind::Activated(second_sight),
    }],
    attacks: &[Attack {
        name: "Erase Hours",
        cost: &[Element::Tide, Element::Plain, Element::Plain],
        damage: 30,
        text: "Before doing damage, discard the top 2 cards of your opponent's deck, one after the other. This \
            attack does 20 more damage for each energy card discarded in this way.",
        effect: erase_hours,
    }],
};

/// **Second Sight**: Once during your turn, you may look at the top 3 cards of your deck (fewer if it has
/// fewer), choose 1 of them, and put it into your hand. Put the others on the bottom of your deck in the order
/// in which they lay: the one that was nearer the top stays nearer the top. With an empty deck this ability
/// can't be used: it is prevented. (The options are those cards, the top one first.)
pub fn second_sight(game: &mut Game, own: Place) -> Result<(), RuleError> {
    let deck = &mut game.player_mut(own.side).deck;
    let mut seen = deck.split_off(deck.len().saturating_sub(3));
    let question = "Choose a card to put into your hand";
    if let Some(chosen) = game.prompts.pick_one(own.side, question, seen.len())? {
        let card = seen.remove(chosen);
        game.player_mut(own.side).hand.push(card);
    }
    game.player_mut(own.side).deck.extend(seen);
    Ok(())
}

/// **Erase Hours**: Before doing damage, discard the top 2 cards of your opponent's deck, one after the other.
/// This attack does 20 more damage for each energy card discarded in this way.
pub fn erase_hours(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    let damage = game.strike(side, 30)?;
    let opponent = game.player_mut(side.other());
    for _ in 0..2 {
        opponent.discard.extend(opponent.deck.pop());
    }
    Ok(damage)
}
