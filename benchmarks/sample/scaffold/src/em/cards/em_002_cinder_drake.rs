//! Cinder Drake (em-002), Emberfall Marches: an evolution, an ability when evolving, a lasting effect.

use crate::engine::{
    Ability, AbilityKind, Attack, CreatureSpec, Effect, EffectKind, Element, Game, Place, RuleError, Side, Stage,
};

pub static CARD: CreatureSpec = CreatureSpec {
    id: "em-002",
    name: "Cinder Drake",
    stage: Stage::First,
    evolves_from: Some("Cinder Whelp"),
    hp: 100,
    element: Element::Flame,
    weakness: Some(Element::Tide),
    resistance: Some(Element::Root),
    retreat_cost: 2,
    abilities: &[Ability {
        name: "Warm Ashes",
        text: "When you play this card from your hand to evolve a creature, heal 30 damage from this creature.",
        kind: AbilityKind::OnEvolve(warm_ashes),
    }],
    attacks: &[Attack {
        name: "Updraft",
        cost: &[Element::Flame, Element::Plain],
        damage: 40,
        text: "During your opponent's next turn, damage done to this creature by attacks is reduced by 20.",
        effect: updraft,
    }],
};

/// **Warm Ashes**: When you play this card from your hand to evolve a creature, heal 30 damage from this creature.
pub fn warm_ashes(game: &mut Game, own: Place) -> Result<(), RuleError> {
    game.heal(own, 30)?;
    Ok(())
}

/// **Updraft**: During your opponent's next turn, damage done to this creature by attacks is reduced by 20.
pub fn updraft(game: &mut Game, side: Side) -> Result<u32, RuleError> {
    let damage = game.strike(side, 40)?;
    let gliding = Effect::next_turn(EffectKind::ReduceDamage(20), game.turn);
    game.add_effect(Place::active(side), gliding)?;
    Ok(damage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::em::cards::em_001_cinder_whelp;
    use crate::engine::testing::{duel, GOLEM};
    use crate::engine::Card;

    #[test]
    fn evolving_heals_30() {
        let mut game = duel(&em_001_cinder_whelp::CARD, &GOLEM);
        let place = Place::active(Side::First);
        game.put_damage(place, 50).unwrap();
        game.player_mut(Side::First).hand = vec![Card::Creature(&CARD)];
        game.evolve(0, place).unwrap();
        assert_eq!(game.active(Side::First).unwrap().damage, 20);
    }

    #[test]
    fn updraft_protects_during_the_next_turn_only() {
        let mut game = duel(&CARD, &GOLEM);
        assert_eq!(updraft(&mut game, Side::First), Ok(40));
        game.end_turn().unwrap();
        assert_eq!(game.strike(Side::Second, 50), Ok(30));
        game.end_turn().unwrap();
        game.end_turn().unwrap();
        assert_eq!(game.strike(Side::Second, 50), Ok(50));
    }
}
