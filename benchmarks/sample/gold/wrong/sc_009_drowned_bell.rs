//! Drowned Bell (sc-009), Sunken Choir.

use crate::engine::{AllySpec, Coin, Game, RuleError, Side};

pub static CARD: AllySpec = AllySpec {
    id: "sc-009",
    name: "Drowned Bell",
    text: "Flip a coin first. Then each player shuffles their hand into their deck, you before your opponent. \
        Then, if the coin came up heads, you draw 5 cards and your opponent draws 3; if tails, you draw 3 \
        cards and your opponent draws 5. (A deck with fewer cards is drawn to its end.)",
    effect: drowned_bell,
};

/// **Drowned Bell**: Flip a coin first. Then each player shuffles their hand into their deck, you before your
/// opponent. Then, if the coin came up heads, you draw 5 cards and your opponent draws 3; if tails, you draw 3
/// cards and your opponent draws 5. (A deck with fewer cards is drawn to its end.)
pub fn drowned_bell(game: &mut Game, side: Side) -> Result<(), RuleError> {
    let (mine, theirs) = match game.flip() {
        Coin::Heads => (5, 3),
        Coin::Tails => (3, 5),
    };
    let zones = game.player_mut(side);
    zones.deck.append(&mut zones.hand);
    game.shuffle_deck(side);
    game.draw(side, mine);
    game.draw(side.other(), theirs);
    Ok(())
}
