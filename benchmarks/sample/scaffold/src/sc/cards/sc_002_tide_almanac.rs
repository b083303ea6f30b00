//! Tide Almanac (sc-002), Sunken Choir: an ally card.

use crate::engine::{AllySpec, Game, RuleError, Side};

pub static CARD: AllySpec = AllySpec {
    id: "sc-002",
    name: "Tide Almanac",
    text: "Draw 3 cards. Then discard 1 card from your hand.",
    effect: tide_almanac,
};

/// **Tide Almanac**: Draw 3 cards. Then discard 1 card from your hand.
pub fn tide_almanac(game: &mut Game, side: Side) -> Result<(), RuleError> {
    game.draw(side, 3);
    let options = game.player(side).hand.len();
    let discarded = game.prompts.pick(side, "Choose a card to discard", options, 1..=1)?;
    game.discard_from_hand(side, &discarded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{duel, GOLEM};
    use crate::engine::{Answer, Card, Element, Energy};

    #[test]
    fn it_draws_three_and_discards_the_chosen_card() {
        let mut game = duel(&GOLEM, &GOLEM);
        let player = game.player_mut(Side::First);
        player.hand = vec![Card::Ally(&CARD), Card::Energy(Energy::Wild)];
        player.deck = vec![Card::Energy(Energy::Basic(Element::Tide)); 5];
        game.prompts.script([Answer::Pick(vec![0])]);
        game.play_ally(Side::First, 0).unwrap();
        let player = game.player(Side::First);
        assert_eq!((player.hand.len(), player.deck.len()), (3, 2));
        assert_eq!(player.discard, [Card::Energy(Energy::Wild), Card::Ally(&CARD)]);
    }

    #[test]
    fn a_second_ally_has_to_wait() {
        let mut game = duel(&GOLEM, &GOLEM);
        game.player_mut(Side::First).hand = vec![Card::Ally(&CARD); 2];
        game.player_mut(Side::First).deck = vec![Card::Energy(Energy::Wild)];
        game.prompts.script([Answer::Pick(vec![1])]);
        game.play_ally(Side::First, 0).unwrap();
        let again = game.play_ally(Side::First, 0);
        assert_eq!(again, Err(RuleError::AlreadyDone("playing an ally")));
    }
}
