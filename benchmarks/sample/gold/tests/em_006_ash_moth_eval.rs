#[cfg(test)]
mod eval_tests {
    use super::*;
    use crate::engine::testing::{duel, fill_bench, GOLEM};
    use crate::engine::{Condition, Place, Side};

    const ME: Side = Side::First;
    const FOE: Side = Side::Second;

    #[test]
    fn choking_cloud_does_20_to_a_healthy_creature() {
        let mut game = duel(&CARD, &GOLEM);
        assert_eq!(choking_cloud(&mut game, ME), Ok(20));
        assert_eq!(game.active(FOE).unwrap().damage, 20);
    }

    #[test]
    fn choking_cloud_does_50_to_a_weakened_creature() {
        for condition in [Condition::Burned, Condition::Dazed, Condition::Poisoned] {
            let mut game = duel(&CARD, &GOLEM);
            game.inflict(FOE, condition).unwrap();
            assert_eq!(choking_cloud(&mut game, ME), Ok(50));
        }
    }

    #[test]
    fn choking_cloud_inflicts_two_conditions() {
        let mut game = duel(&CARD, &GOLEM);
        game.inflict(FOE, Condition::Dazed).unwrap();
        choking_cloud(&mut game, ME).unwrap();
        let conditions = &game.active(FOE).unwrap().conditions;
        assert!(conditions.has(Condition::Asleep) && conditions.has(Condition::Poisoned));
        assert_eq!(conditions.count(), 2);
        assert!(game.active(ME).unwrap().conditions.is_empty());
    }

    #[test]
    fn drifting_ash_adds_to_the_poison() {
        let mut game = duel(&GOLEM, &GOLEM);
        fill_bench(&mut game, ME, &[&GOLEM, &CARD, &CARD]);
        game.inflict(FOE, Condition::Poisoned).unwrap();
        game.end_turn().unwrap();
        assert_eq!(game.active(FOE).unwrap().damage, 10 + 2 * 10);
    }

    #[test]
    fn drifting_ash_needs_the_bench() {
        let mut game = duel(&CARD, &GOLEM);
        game.inflict(FOE, Condition::Poisoned).unwrap();
        drifting_ash(&mut game, Place::active(ME)).unwrap();
        assert_eq!(game.active(FOE).unwrap().damage, 0);
    }

    #[test]
    fn drifting_ash_needs_poison() {
        let mut game = duel(&GOLEM, &GOLEM);
        fill_bench(&mut game, ME, &[&CARD]);
        game.inflict(ME, Condition::Poisoned).unwrap();
        game.inflict(FOE, Condition::Burned).unwrap();
        drifting_ash(&mut game, Place::bench(ME, 0)).unwrap();
        assert_eq!(game.active(FOE).unwrap().damage, 0);
        assert_eq!(game.active(ME).unwrap().damage, 0);
    }

    #[test]
    fn drifting_ash_needs_a_victim() {
        let mut game = duel(&GOLEM, &GOLEM);
        fill_bench(&mut game, ME, &[&CARD]);
        game.player_mut(FOE).active = None;
        assert_eq!(drifting_ash(&mut game, Place::bench(ME, 0)), Ok(()));
    }
}
