#[cfg(test)]
mod eval_tests {
    use super::*;
    use crate::engine::testing::{duel, seed_for, seeded_duel, GOLEM};
    use crate::engine::{Coin, Condition, Side};

    const ME: Side = Side::First;
    const FOE: Side = Side::Second;

    #[test]
    fn prick_does_10() {
        let mut game = duel(&CARD, &GOLEM);
        assert_eq!(prick(&mut game, ME), Ok(10));
        assert_eq!(game.active(FOE).unwrap().damage, 10);
    }

    #[test]
    fn prick_poisons_on_heads() {
        let mut game = seeded_duel(&CARD, &GOLEM, seed_for(&[Coin::Heads]));
        prick(&mut game, ME).unwrap();
        assert!(game.active(FOE).unwrap().conditions.has(Condition::Poisoned));
        assert!(game.active(ME).unwrap().conditions.is_empty());
    }

    #[test]
    fn prick_does_not_poison_on_tails() {
        let mut game = seeded_duel(&CARD, &GOLEM, seed_for(&[Coin::Tails, Coin::Heads]));
        prick(&mut game, ME).unwrap();
        assert!(game.active(FOE).unwrap().conditions.is_empty());
        assert_eq!(game.flips(), [Coin::Tails]);
    }

    #[test]
    fn prick_keeps_other_conditions() {
        let mut game = seeded_duel(&CARD, &GOLEM, seed_for(&[Coin::Heads]));
        game.inflict(FOE, Condition::Asleep).unwrap();
        prick(&mut game, ME).unwrap();
        assert!(game.active(FOE).unwrap().conditions.has(Condition::Asleep));
        assert!(game.active(FOE).unwrap().conditions.has(Condition::Poisoned));
    }
}
