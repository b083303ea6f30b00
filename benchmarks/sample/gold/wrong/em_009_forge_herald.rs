//! Forge Herald (em-009), Emberfall Marches.

use crate::engine::game::take;
use crate::engine::{AllySpec, Game, RuleError, Side};

pub static CARD: AllySpec = AllySpec {
    id: "em-009",
    name: "Forge Herald",
    text: "Search your deck for up to 2 basic energy cards of different elements and put them into your hand, in \
        the order chosen. Then shuffle your deck, even if you took none. (You make one choice; the options are \
        the basic energy cards only, in the order in which they lie in the deck, the bottom one first; Wild \
        energy is not basic. Choosing two of the same element is a bad answer.)",
    effect: forge_herald,
};

/// **Forge Herald**: Search your deck for up to 2 basic energy cards of different elements and put them into
/// your hand, in the order chosen. Then shuffle your deck, even if you took none. (You make one choice; the
/// options are the basic energy cards only, in the order in which they lie in the deck, the bottom one first;
/// Wild energy is not basic. Choosing two of the same element is a bad answer.)
pub fn forge_herald(game: &mut Game, side: Side) -> Result<(), RuleError> {
    let question = "Choose up to 2 energy";
    let deck = &game.player(side).deck;
    let energy: Vec<usize> = (0..deck.len()).filter(|&i| deck[i].as_energy().is_some()).collect();
    let chosen = game.prompts.pick(side, question, energy.len(), 0..=2)?;
    let positions: Vec<usize> = chosen.iter().map(|&i| energy[i]).collect();
    let found = take(&mut game.player_mut(side).deck, &positions)?;
    game.player_mut(side).hand.extend(found);
    Ok(())
}
