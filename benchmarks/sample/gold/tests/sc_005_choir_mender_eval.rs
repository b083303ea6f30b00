#[cfg(test)]
mod eval_tests {
    use super::*;
    use crate::engine::testing::{duel, fill_bench, GOLEM};
    use crate::engine::{Condition, Place, RuleError, Side};

    const ME: Side = Side::First;
    const FOE: Side = Side::Second;

    #[test]
    fn soothing_hymn_heals_each_of_your_creatures() {
        let mut game = duel(&CARD, &GOLEM);
        fill_bench(&mut game, ME, &[&GOLEM, &GOLEM, &GOLEM]);
        fill_bench(&mut game, FOE, &[&GOLEM]);
        for (place, damage) in game.places(ME).into_iter().zip([50, 30, 10, 0]) {
            game.put_damage(place, damage).unwrap();
        }
        game.put_damage(Place::active(FOE), 40).unwrap();
        soothing_hymn(&mut game, Place::active(ME)).unwrap();
        let left: Vec<u32> = game
            .places(ME)
            .into_iter()
            .map(|p| game.creature(p).unwrap().damage)
            .collect();
        assert_eq!(left, [30, 10, 0, 0]);
        assert_eq!(game.active(FOE).unwrap().damage, 40);
    }

    #[test]
    fn soothing_hymn_calms_an_unharmed_active_creature() {
        let mut game = duel(&GOLEM, &GOLEM);
        fill_bench(&mut game, ME, &[&CARD]);
        game.put_damage(Place::bench(ME, 0), 40).unwrap();
        for condition in [Condition::Poisoned, Condition::Asleep, Condition::Burned] {
            game.inflict(ME, condition).unwrap();
            game.inflict(FOE, condition).unwrap();
        }
        soothing_hymn(&mut game, Place::bench(ME, 0)).unwrap();
        assert!(game.active(ME).unwrap().conditions.is_empty());
        assert_eq!(game.active(FOE).unwrap().conditions.count(), 3);
        assert_eq!(game.player(ME).bench[0].damage, 20);
    }

    #[test]
    fn soothing_hymn_leaves_conditions_of_a_harmed_one() {
        for (damage, left) in [(20, 0), (60, 40)] {
            let mut game = duel(&CARD, &GOLEM);
            game.put_damage(Place::active(ME), damage).unwrap();
            game.inflict(ME, Condition::Poisoned).unwrap();
            soothing_hymn(&mut game, Place::active(ME)).unwrap();
            assert_eq!(game.active(ME).unwrap().damage, left);
            assert!(game.active(ME).unwrap().conditions.has(Condition::Poisoned));
        }
    }

    #[test]
    fn soothing_hymn_can_be_sung_once_each_turn() {
        let mut game = duel(&GOLEM, &GOLEM);
        fill_bench(&mut game, ME, &[&CARD]);
        game.put_damage(Place::active(ME), 100).unwrap();
        let own = Place::bench(ME, 0);
        game.use_ability(own).unwrap();
        assert!(matches!(game.use_ability(own), Err(RuleError::AlreadyDone(_))));
        assert_eq!(game.active(ME).unwrap().damage, 80);
        game.turn += 2;
        game.use_ability(own).unwrap();
        assert_eq!(game.active(ME).unwrap().damage, 60);
    }

    #[test]
    fn tuning_wave_heals_for_each_benched_creature() {
        let mut game = duel(&CARD, &GOLEM);
        fill_bench(&mut game, ME, &[&GOLEM, &GOLEM]);
        fill_bench(&mut game, FOE, &[&GOLEM, &GOLEM, &GOLEM]);
        game.put_damage(Place::active(ME), 50).unwrap();
        game.put_damage(Place::bench(ME, 0), 50).unwrap();
        assert_eq!(tuning_wave(&mut game, ME), Ok(30));
        assert_eq!(game.active(ME).unwrap().damage, 30);
        assert_eq!(game.player(ME).bench[0].damage, 50);
    }

    #[test]
    fn tuning_wave_heals_nothing_alone() {
        let mut game = duel(&CARD, &GOLEM);
        game.put_damage(Place::active(ME), 50).unwrap();
        assert_eq!(tuning_wave(&mut game, ME), Ok(30));
        assert_eq!(game.active(ME).unwrap().damage, 50);
    }
}
