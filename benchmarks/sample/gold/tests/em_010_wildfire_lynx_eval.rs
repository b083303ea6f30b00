#[cfg(test)]
mod eval_tests {
    use super::*;
    use crate::engine::testing::{charge, duel, dummy, fill_bench, GOLEM};
    use crate::engine::{Answer, Condition, CreatureSpec, Element, Game, Place, RuleError, Side};

    const ME: Side = Side::First;
    const FOE: Side = Side::Second;

    static PREY: CreatureSpec = CreatureSpec {
        weakness: Some(Element::Flame),
        ..dummy("prey", Element::Root, 60)
    };

    fn bench_damage(game: &Game) -> Vec<u32> {
        game.player(FOE).bench.iter().map(|c| c.damage).collect()
    }

    fn is_burned(game: &Game) -> bool {
        game.active(FOE).unwrap().conditions.has(Condition::Burned)
    }

    #[test]
    fn light_feet_makes_retreat_free() {
        let mut game = duel(&CARD, &GOLEM);
        fill_bench(&mut game, ME, &[&GOLEM]);
        game.inflict(FOE, Condition::Burned).unwrap();
        assert_eq!(light_feet(&game, Place::active(ME), 2), 0);
        assert_eq!(game.retreat(ME, 0), Ok(()));
    }

    #[test]
    fn light_feet_needs_a_burned_opponent() {
        let mut game = duel(&CARD, &GOLEM);
        game.inflict(FOE, Condition::Poisoned).unwrap();
        game.inflict(ME, Condition::Burned).unwrap();
        assert_eq!(light_feet(&game, Place::active(ME), 2), 2);
        assert_eq!(light_feet(&game, Place::active(ME), 1), 1);
        game.player_mut(FOE).active = None;
        assert_eq!(light_feet(&game, Place::active(ME), 2), 2);
    }

    #[test]
    fn leaping_flames_hits_the_chosen_creatures() {
        let mut game = duel(&CARD, &GOLEM);
        fill_bench(&mut game, FOE, &[&GOLEM, &GOLEM, &GOLEM]);
        game.prompts.script([Answer::Pick(vec![2, 0])]);
        assert_eq!(leaping_flames(&mut game, ME), Ok(20));
        assert_eq!(bench_damage(&game), [20, 0, 20]);
        assert!(!is_burned(&game));
    }

    #[test]
    fn leaping_flames_may_hit_one() {
        let mut game = duel(&CARD, &GOLEM);
        fill_bench(&mut game, FOE, &[&GOLEM, &GOLEM, &GOLEM]);
        game.prompts
            .script([Answer::Pick(vec![1]), Answer::Pick(vec![0, 1, 2])]);
        leaping_flames(&mut game, ME).unwrap();
        assert_eq!(bench_damage(&game), [0, 20, 0]);
        assert!(!is_burned(&game));
        assert!(matches!(leaping_flames(&mut game, ME), Err(RuleError::BadAnswer(_))));
    }

    #[test]
    fn leaping_flames_ignores_weakness_on_the_bench() {
        let mut game = duel(&CARD, &PREY);
        fill_bench(&mut game, FOE, &[&PREY, &PREY]);
        game.prompts.script([Answer::Pick(vec![0, 1])]);
        assert_eq!(leaping_flames(&mut game, ME), Ok(40));
        assert_eq!(bench_damage(&game), [20, 20]);
    }

    #[test]
    fn leaping_flames_burns_if_none_is_chosen() {
        let mut game = duel(&CARD, &GOLEM);
        fill_bench(&mut game, FOE, &[&GOLEM]);
        game.prompts.script([Answer::Pick(vec![])]);
        assert_eq!(leaping_flames(&mut game, ME), Ok(20));
        assert_eq!(bench_damage(&game), [0]);
        assert!(is_burned(&game));
    }

    #[test]
    fn leaping_flames_burns_if_the_bench_is_empty() {
        let mut game = duel(&CARD, &GOLEM);
        assert_eq!(leaping_flames(&mut game, ME), Ok(20));
        assert!(game.prompts.asked().is_empty());
        assert!(is_burned(&game));
    }

    #[test]
    fn leaping_flames_knocks_out_on_the_bench() {
        let mut game = duel(&CARD, &GOLEM);
        fill_bench(&mut game, FOE, &[&GOLEM, &PREY]);
        game.put_damage(Place::bench(FOE, 1), 40).unwrap();
        charge(&mut game, ME, Element::Flame, 2);
        game.prompts.script([Answer::Pick(vec![1])]);
        assert_eq!(game.attack(ME, 0), Ok(20));
        assert_eq!(bench_damage(&game), [0]);
        assert_eq!(game.player(ME).trophies, 1);
    }
}
