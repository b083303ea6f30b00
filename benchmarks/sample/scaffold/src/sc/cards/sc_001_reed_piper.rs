//! Reed Piper (sc-001), Sunken Choir: an activated ability, prompts, the bench.

use crate::engine::{Ability, AbilityKind, Attack, CreatureSpec, Element, Game, Place, RuleError, Side, Stage};

pub static CARD: CreatureSpec = CreatureSpec {
    id: "sc-001",
    name: "Reed Piper",
    stage: Stage::Basic,
    evolves_from: None,
    hp: 60,
    element: Element::Tide,
    weakness: Some(Element::Storm),
    resistance: None,
    retreat_cost: 1,
    abilities: &[Ability {
        name: "Quiet Air",
        text: "Once during your turn, you may heal 10 damage from 1 of your benched creatures.",
        kind: AbilityKind::Activated(quiet_air),
    }],
    attacks: &[Attack {
        name: "Piping Call",
        cost: &[Element::Tide],
        damage: 10,
        text: "After doing damage, you may switch your opponent's active creature with 1 of their benched creatures \
            of your choice.",
        effect: piping_call,
    }],
};

/// **Quiet Air**: Once during your turn, you may heal 10 damage from 1 of your benched creatures.
pub fn quiet_air(game: &mut Game, own: Place) -> Result<(), RuleError> {
    let benched = game.bench_places(own.side);
    let question = "Choose a benched creature to heal";
    if let Some(chosen) = game.prompts.pick_one(own.side, question, benched.len())? {
        game.heal(benched[chosen], 10)?;
    }
    Ok(())
}

/// **Piping Call**: After doing damage, you may switch your opponent's active creature with 1 of their benched
/// creatures of your choice.
pub fn piping_call(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    let damage = game.strike(side, 10)?;
    let options = game.player(side.other()).bench.len();
    let question = "Choose your opponent's new active creature";
    let chosen = game.prompts.pick(side, question, options, 0..=1)?;
    for position in chosen {
        game.switch_active(side.other(), position)?;
    }
    Ok(damage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{duel, fill_bench, GOLEM};
    use crate::engine::Answer;

    #[test]
    fn quiet_air_heals_the_chosen_creature_once_each_turn() {
        let mut game = duel(&CARD, &GOLEM);
        fill_bench(&mut game, Side::First, &[&GOLEM, &GOLEM]);
        for place in game.bench_places(Side::First) {
            game.put_damage(place, 30).unwrap();
        }
        game.prompts.script([Answer::Pick(vec![1])]);
        let own = Place::active(Side::First);
        game.use_ability(own).unwrap();
        let damage: Vec<u32> = game.player(Side::First).bench.iter().map(|c| c.damage).collect();
        assert_eq!(damage, [30, 20]);
        assert_eq!(game.use_ability(own), Err(RuleError::AlreadyDone("using this ability")));
    }

    #[test]
    fn piping_call_may_be_declined() {
        let mut game = duel(&CARD, &GOLEM);
        fill_bench(&mut game, Side::Second, &[&CARD]);
        assert_eq!(piping_call(&mut game, Side::First), Ok(10));
        assert_eq!(game.active(Side::Second).unwrap().spec, &GOLEM);
        game.prompts.script([Answer::Pick(vec![0])]);
        assert_eq!(piping_call(&mut game, Side::First), Ok(10));
        assert_eq!(game.active(Side::Second).unwrap().spec, &CARD);
    }
}
