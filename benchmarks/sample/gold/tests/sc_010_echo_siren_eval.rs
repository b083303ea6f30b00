#[cfg(test)]
mod eval_tests {
    use super::*;
    use crate::engine::testing::{charge, duel, dummy, fill_bench, GOLEM};
    use crate::engine::{
        Answer, Attack, Condition, CreatureSpec, Effect, EffectKind, Element, Game, Place, RuleError, Side,
    };

    const ME: Side = Side::First;
    const FOE: Side = Side::Second;

    static CHANTER: CreatureSpec = CreatureSpec {
        weakness: Some(Element::Gloom),
        attacks: &[
            Attack {
                name: "Stanza",
                cost: &[Element::Storm, Element::Storm, Element::Storm],
                damage: 30,
                text: "",
                effect: stanza,
            },
            Attack {
                name: "Lullaby",
                cost: &[],
                damage: 0,
                text: "Your opponent's active creature is now Asleep.",
                effect: lullaby,
            },
        ],
        ..dummy("chanter", Element::Storm, 200)
    };

    fn stanza(game: &mut Game, side: Side) -> Result<u32, RuleError> {
        game.strike(side, 30)
    }

    fn lullaby(game: &mut Game, side: Side) -> Result<u32, RuleError> {
        game.inflict(side.other(), Condition::Asleep)?;
        Ok(0)
    }

    #[test]
    fn dirge_hurts_the_damaged() {
        let mut game = duel(&CARD, &GOLEM);
        fill_bench(&mut game, ME, &[&GOLEM, &GOLEM]);
        fill_bench(&mut game, FOE, &[&GOLEM, &GOLEM]);
        for place in [Place::active(FOE), Place::bench(FOE, 1), Place::bench(ME, 0)] {
            game.put_damage(place, 30).unwrap();
        }
        dirge(&mut game, ME).unwrap();
        let damage = |side| {
            game.places(side)
                .into_iter()
                .map(|p| game.creature(p).unwrap().damage)
                .collect::<Vec<_>>()
        };
        assert_eq!(damage(ME), [0, 40, 0]);
        assert_eq!(damage(FOE), [40, 0, 40]);
    }

    #[test]
    fn dirge_spares_the_singer() {
        let mut game = duel(&CARD, &GOLEM);
        fill_bench(&mut game, ME, &[&CARD]);
        game.put_damage(Place::active(ME), 20).unwrap();
        game.put_damage(Place::bench(ME, 0), 20).unwrap();
        dirge(&mut game, ME).unwrap();
        assert_eq!(game.active(ME).unwrap().damage, 20);
        assert_eq!(game.player(ME).bench[0].damage, 30);
    }

    #[test]
    fn dirge_returns_what_the_active_creature_took() {
        let mut game = duel(&CARD, &CHANTER);
        assert_eq!(dirge(&mut game, ME), Ok(0));
        assert_eq!(game.active(FOE).unwrap().damage, 0);
        game.put_damage(Place::active(FOE), 10).unwrap();
        let wall = Effect::next_turn(EffectKind::PreventDamage, game.turn - 1);
        game.add_effect(Place::active(FOE), wall).unwrap();
        assert_eq!(dirge(&mut game, ME), Ok(10));
        assert_eq!(game.active(FOE).unwrap().damage, 20);
    }

    #[test]
    fn echo_uses_the_chosen_attack() {
        let mut game = duel(&CARD, &CHANTER);
        game.prompts.script([Answer::Pick(vec![1])]);
        assert_eq!(echo(&mut game, ME), Ok(0));
        assert!(game.active(FOE).unwrap().conditions.has(Condition::Asleep));
        assert!(game.active(ME).unwrap().conditions.is_empty());
        assert_eq!(game.active(FOE).unwrap().damage, 0);
    }

    #[test]
    fn echo_strikes_with_its_own_element() {
        let mut game = duel(&CARD, &CHANTER);
        charge(&mut game, ME, Element::Gloom, 2);
        game.prompts.script([Answer::Pick(vec![0])]);
        assert_eq!(game.attack(ME, 1), Ok(60));
        assert_eq!(game.active(FOE).unwrap().damage, 60);
        assert_eq!(game.active(ME).unwrap().damage, 0);
    }

    #[test]
    fn echo_asks_for_a_single_attack_too() {
        let mut game = duel(&CARD, &GOLEM);
        assert_eq!(echo(&mut game, ME), Ok(20));
        let asked: Vec<(Side, usize)> = game.prompts.asked().iter().map(|a| (a.side, a.options)).collect();
        assert_eq!(asked, [(ME, 1)]);
    }

    #[test]
    fn echo_of_silence_does_nothing() {
        static MUTE: CreatureSpec = dummy("mute", Element::Root, 100);
        let mut game = duel(&CARD, &MUTE);
        assert_eq!(echo(&mut game, ME), Ok(0));
        assert!(game.prompts.asked().is_empty());
        assert_eq!(game.active(FOE).unwrap().damage, 0);
    }

    #[test]
    fn echo_of_an_echo_does_nothing() {
        let mut game = duel(&CARD, &CARD);
        game.put_damage(Place::active(FOE), 20).unwrap();
        game.prompts.script([Answer::Pick(vec![1]), Answer::Pick(vec![0])]);
        assert_eq!(echo(&mut game, ME), Ok(0));
        assert_eq!(game.prompts.asked().len(), 1);
        assert_eq!(game.active(FOE).unwrap().damage, 20);
        assert_eq!(echo(&mut game, ME), Ok(10));
        assert_eq!(game.active(FOE).unwrap().damage, 30);
    }
}
