//! Echo Siren (sc-010), Sunken Choir.

use crate::engine::{Attack, CreatureSpec, Element, Game, RuleError, Side, Stage};

pub static CARD: CreatureSpec = CreatureSpec {
    id: "sc-010",
    name: "Echo Siren",
    stage: Stage::First,
    evolves_from: Some("Echo Nymph"),
    hp: 90,
    element: Element::Gloom,
    weakness: Some(Element::Storm),
    resistance: None,
    retreat_cost: 1,
    abilities: &[],
    attacks: &[
        Attack {
            name: "Dirge",
            cost: &[Element::Gloom],
            damage: 0,
            text: "Put 10 damage on each creature in play that has any damage on it, on both sides, except this \
                creature. (No weakness, resistance, effect or ability changes this damage. The function \
                returns the damage put on your opponent's active creature.)",
            effect: dirge,
        },
        Attack {
            name: "Echo",
            cost: &[Element::Gloom, Element::Plain],
            damage: 0,
            text: "Choose 1 of the attacks of your opponent's active creature and use it as this attack, as if it \
                were this creature's own. (You need not pay its cost. The options are all its attacks in \
                printed order, even a single one. Your opponent's creature keeps its weakness against this \
                creature's element.) If that creature has no attacks, or the one chosen is itself named Echo, \
                this attack does nothing.",
            effect: echo,
        },
    ],
};

/// **Dirge**: Put 10 damage on each creature in play that has any damage on it, on both sides, except this
/// creature. (No weakness, resistance, effect or ability changes this damage. The function returns the damage
/// put on your opponent's active creature.)
pub fn dirge(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    todo!()
}

/// **Echo**: Choose 1 of the attacks of your opponent's active creature and use it as this attack, as if it
/// were this creature's own. (You need not pay its cost. The options are all its attacks in printed order, even
/// a single one. Your opponent's creature keeps its weakness against this creature's element.) If that creature
/// has no attacks, or the one chosen is itself named Echo, this attack does nothing.
pub fn echo(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    todo!()
}
