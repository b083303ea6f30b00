#[cfg(test)]
mod eval_tests {
    use super::*;
    use crate::engine::testing::{charge, duel, dummy, fill_bench, GOLEM};
    use crate::engine::{Answer, CreatureSpec, Element, Energy, Hit, Place, RuleError, Side};

    const ME: Side = Side::First;
    const FOE: Side = Side::Second;

    #[test]
    fn molten_hide_cools_10_for_each_flame() {
        static CURRENT: CreatureSpec = dummy("current", Element::Tide, 100);
        let mut game = duel(&CURRENT, &CARD);
        charge(&mut game, FOE, Element::Flame, 2);
        charge(&mut game, FOE, Element::Stone, 2);
        game.active_mut(FOE).unwrap().energy.push(Energy::Wild);
        assert_eq!(game.strike(ME, 40), Ok(80 - 30));
        let target = Place::active(FOE);
        let hit = Hit {
            attacker: ME,
            target,
            amount: 80,
        };
        assert_eq!(molten_hide(&game, target, &hit), 50);
    }

    #[test]
    fn molten_hide_lets_10_through() {
        let mut game = duel(&GOLEM, &CARD);
        charge(&mut game, FOE, Element::Flame, 6);
        let target = Place::active(FOE);
        for (amount, left) in [(60, 10), (30, 10), (10, 10), (0, 0)] {
            let hit = Hit {
                attacker: ME,
                target,
                amount,
            };
            assert_eq!(molten_hide(&game, target, &hit), left);
        }
    }

    #[test]
    fn molten_hide_protects_itself_only() {
        let mut game = duel(&GOLEM, &GOLEM);
        fill_bench(&mut game, FOE, &[&GOLEM, &CARD]);
        let own = Place::bench(FOE, 1);
        game.creature_mut(own).unwrap().energy = vec![Energy::Basic(Element::Flame); 2];
        assert_eq!(game.strike(ME, 40), Ok(40));
        assert_eq!(game.hit(ME, Place::bench(FOE, 0), 40), Ok(40));
        assert_eq!(game.hit(ME, own, 40), Ok(20));
    }

    #[test]
    fn magma_wake_washes_over_both_benches() {
        static WEAK: CreatureSpec = CreatureSpec {
            weakness: Some(Element::Stone),
            ..dummy("weak", Element::Root, 90)
        };
        let mut game = duel(&CARD, &WEAK);
        fill_bench(&mut game, ME, &[&WEAK]);
        fill_bench(&mut game, FOE, &[&GOLEM, &WEAK]);
        assert_eq!(magma_wake(&mut game, ME), Ok(60));
        let benched = |side| game.player(side).bench.iter().map(|c| c.damage).collect::<Vec<_>>();
        assert_eq!(benched(ME), [10]);
        assert_eq!(benched(FOE), [10, 10]);
        assert_eq!(game.active(ME).unwrap().damage, 0);
    }

    #[test]
    fn magma_wake_needs_no_bench() {
        let mut game = duel(&CARD, &GOLEM);
        assert_eq!(magma_wake(&mut game, ME), Ok(30));
        assert_eq!(game.active(FOE).unwrap().damage, 30);
    }

    #[test]
    fn crucible_slam_discards_the_chosen_energy() {
        let mut game = duel(&CARD, &GOLEM);
        charge(&mut game, ME, Element::Flame, 2);
        charge(&mut game, ME, Element::Stone, 2);
        game.prompts.script([Answer::Pick(vec![3, 0])]);
        assert_eq!(crucible_slam(&mut game, ME), Ok(120));
        let left = [Energy::Basic(Element::Flame), Energy::Basic(Element::Stone)];
        assert_eq!(game.active(ME).unwrap().energy, left);
        assert_eq!(game.player(ME).discard.len(), 2);
    }

    #[test]
    fn crucible_slam_hurts_and_spends_itself() {
        static SOFT: CreatureSpec = dummy("soft", Element::Root, 300);
        let mut game = duel(&CARD, &SOFT);
        charge(&mut game, ME, Element::Flame, 4);
        charge(&mut game, ME, Element::Stone, 2);
        assert_eq!(game.attack(ME, 1), Ok(120));
        assert_eq!(game.active(ME).unwrap().damage, 20);
        game.end_turn().unwrap();
        game.end_turn().unwrap();
        assert!(matches!(game.attack(ME, 0), Err(RuleError::Prevented(_))));
        game.end_turn().unwrap();
        game.end_turn().unwrap();
        assert_eq!(game.attack(ME, 0), Ok(30));
    }

    #[test]
    fn crucible_slam_discards_what_there_is() {
        let mut game = duel(&CARD, &GOLEM);
        assert_eq!(crucible_slam(&mut game, ME), Ok(120));
        charge(&mut game, ME, Element::Stone, 1);
        assert_eq!(crucible_slam(&mut game, ME), Ok(120));
        assert!(game.active(ME).unwrap().energy.is_empty());
        assert_eq!(game.active(ME).unwrap().damage, 40);
    }
}
