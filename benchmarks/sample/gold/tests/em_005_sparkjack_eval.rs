#[cfg(test)]
mod eval_tests {
    use super::*;
    use crate::engine::testing::{seed_for, seeded_duel, GOLEM};
    use crate::engine::{Coin, Condition, Side};

    const ME: Side = Side::First;
    const FOE: Side = Side::Second;

    use Coin::{Heads, Tails};

    #[test]
    fn triple_spark_does_20_for_each_heads() {
        for (flips, damage) in [
            ([Heads; 3], 60),
            ([Heads, Tails, Heads], 40),
            ([Tails, Tails, Heads], 20),
        ] {
            let mut game = seeded_duel(&CARD, &GOLEM, seed_for(&flips));
            assert_eq!(triple_spark(&mut game, ME), Ok(damage));
            assert_eq!(game.active(FOE).unwrap().damage, damage);
        }
    }

    #[test]
    fn triple_spark_flips_exactly_three_coins() {
        for flips in [[Heads; 3], [Tails; 3], [Tails, Heads, Tails]] {
            let mut game = seeded_duel(&CARD, &GOLEM, seed_for(&flips));
            triple_spark(&mut game, ME).unwrap();
            assert_eq!(game.flips(), flips);
        }
    }

    #[test]
    fn triple_spark_dazes_itself_without_heads() {
        let mut game = seeded_duel(&CARD, &GOLEM, seed_for(&[Tails; 3]));
        assert_eq!(triple_spark(&mut game, ME), Ok(0));
        assert!(game.active(ME).unwrap().conditions.has(Condition::Dazed));
        assert!(game.active(FOE).unwrap().conditions.is_empty());
    }

    #[test]
    fn triple_spark_leaves_it_clear_headed_with_heads() {
        let mut game = seeded_duel(&CARD, &GOLEM, seed_for(&[Tails, Heads, Tails]));
        assert_eq!(triple_spark(&mut game, ME), Ok(20));
        assert!(game.active(ME).unwrap().conditions.is_empty());
        assert!(game.active(FOE).unwrap().conditions.is_empty());
    }

    #[test]
    fn long_fuse_boosts_the_next_turn() {
        let mut game = seeded_duel(&CARD, &GOLEM, seed_for(&[Heads, Heads, Tails]));
        assert_eq!(long_fuse(&mut game, ME), Ok(0));
        assert_eq!(game.flips(), [Heads, Heads, Tails]);
        game.end_turn().unwrap();
        game.end_turn().unwrap();
        assert_eq!(game.strike(ME, 20), Ok(40));
    }

    #[test]
    fn long_fuse_burns_out() {
        let mut game = seeded_duel(&CARD, &GOLEM, seed_for(&[Heads, Tails]));
        long_fuse(&mut game, ME).unwrap();
        assert_eq!(game.strike(ME, 20), Ok(20));
        game.end_turn().unwrap();
        assert_eq!(game.strike(ME, 20), Ok(20));
        game.end_turn().unwrap();
        game.end_turn().unwrap();
        game.end_turn().unwrap();
        assert_eq!(game.strike(ME, 20), Ok(20));
    }

    #[test]
    fn long_fuse_may_fizzle() {
        let mut game = seeded_duel(&CARD, &GOLEM, seed_for(&[Tails, Heads]));
        assert_eq!(long_fuse(&mut game, ME), Ok(0));
        assert_eq!(game.flips(), [Tails]);
        assert_eq!(game.active(FOE).unwrap().damage, 0);
        game.end_turn().unwrap();
        game.end_turn().unwrap();
        assert_eq!(game.strike(ME, 20), Ok(20));
    }
}
