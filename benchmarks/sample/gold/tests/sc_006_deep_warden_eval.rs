#[cfg(test)]
mod eval_tests {
    use super::*;
    use crate::engine::testing::{charge, duel, dummy, fill_bench, GOLEM};
    use crate::engine::{Answer, Condition, CreatureSpec, Element, RuleError, Side};

    const ME: Side = Side::First;
    const FOE: Side = Side::Second;

    static WEAK: CreatureSpec = CreatureSpec {
        weakness: Some(Element::Gloom),
        ..dummy("weak", Element::Root, 200)
    };

    #[test]
    fn undertow_damages_the_new_active_creature() {
        let mut game = duel(&CARD, &GOLEM);
        fill_bench(&mut game, FOE, &[&GOLEM, &WEAK]);
        game.prompts.script([Answer::Pick(vec![1])]);
        assert_eq!(undertow(&mut game, ME), Ok(80));
        assert_eq!(game.active(FOE).unwrap().spec, &WEAK);
        assert_eq!(game.active(FOE).unwrap().damage, 80);
        assert!(game.player(FOE).bench.iter().all(|c| c.damage == 0 && c.spec == &GOLEM));
    }

    #[test]
    fn undertow_lets_the_opponent_choose() {
        let mut game = duel(&CARD, &GOLEM);
        fill_bench(&mut game, FOE, &[&WEAK]);
        undertow(&mut game, ME).unwrap();
        let asked: Vec<Side> = game.prompts.asked().iter().map(|a| a.side).collect();
        assert_eq!(asked, [FOE]);
        assert_eq!(game.active(FOE).unwrap().spec, &WEAK);
    }

    #[test]
    fn undertow_washes_conditions_off() {
        let mut game = duel(&CARD, &GOLEM);
        fill_bench(&mut game, FOE, &[&GOLEM]);
        game.inflict(FOE, Condition::Poisoned).unwrap();
        assert_eq!(undertow(&mut game, ME), Ok(40));
        assert!(game.player(FOE).bench[0].conditions.is_empty());
        assert!(game.active(FOE).unwrap().conditions.is_empty());
        assert_eq!(game.active(FOE).unwrap().damage, 40);
    }

    #[test]
    fn undertow_does_60_to_a_lonely_creature() {
        let mut game = duel(&CARD, &GOLEM);
        fill_bench(&mut game, ME, &[&GOLEM]);
        assert_eq!(undertow(&mut game, ME), Ok(60));
        assert!(game.prompts.asked().is_empty());
        assert_eq!(undertow(&mut duel(&CARD, &WEAK), ME), Ok(120));
    }

    #[test]
    fn iron_anchor_holds_for_one_turn() {
        let mut game = duel(&CARD, &GOLEM);
        fill_bench(&mut game, FOE, &[&WEAK]);
        charge(&mut game, FOE, Element::Root, 2);
        iron_anchor(&mut game, ME).unwrap();
        game.end_turn().unwrap();
        assert!(matches!(game.retreat(FOE, 0), Err(RuleError::Prevented(_))));
        game.end_turn().unwrap();
        game.end_turn().unwrap();
        assert_eq!(game.retreat(FOE, 0), Ok(()));
    }

    #[test]
    fn iron_anchor_braces_for_one_turn() {
        let mut game = duel(&CARD, &GOLEM);
        iron_anchor(&mut game, ME).unwrap();
        game.end_turn().unwrap();
        assert_eq!(game.strike(FOE, 50), Ok(30));
        assert_eq!(game.strike(FOE, 10), Ok(0));
        game.end_turn().unwrap();
        game.end_turn().unwrap();
        assert_eq!(game.strike(FOE, 50), Ok(50));
    }

    #[test]
    fn iron_anchor_does_20() {
        let mut game = duel(&CARD, &GOLEM);
        assert_eq!(iron_anchor(&mut game, ME), Ok(20));
        assert_eq!(game.active(FOE).unwrap().damage, 20);
        assert!(game.active(FOE).unwrap().conditions.is_empty());
        assert!(game.active(ME).unwrap().conditions.is_empty());
    }
}
