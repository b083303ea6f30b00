#[cfg(test)]
mod eval_tests {
    use super::*;
    use crate::engine::testing::{duel, dummy, GOLEM};
    use crate::engine::{CreatureSpec, Element, Side};

    const ME: Side = Side::First;
    const FOE: Side = Side::Second;

    static WEAK: CreatureSpec = CreatureSpec {
        weakness: Some(Element::Stone),
        ..dummy("weak", Element::Root, 200)
    };
    static TOUGH: CreatureSpec = CreatureSpec {
        resistance: Some(Element::Stone),
        ..dummy("tough", Element::Root, 200)
    };
    static BOTH: CreatureSpec = CreatureSpec {
        weakness: Some(Element::Stone),
        resistance: Some(Element::Stone),
        ..dummy("both", Element::Root, 200)
    };

    #[test]
    fn flint_nip_does_20() {
        let mut game = duel(&CARD, &GOLEM);
        assert_eq!(flint_nip(&mut game, ME), Ok(20));
        assert_eq!(game.active(FOE).unwrap().damage, 20);
        assert_eq!(game.active(ME).unwrap().damage, 0);
    }

    #[test]
    fn flint_nip_meets_weakness_and_resistance() {
        assert_eq!(flint_nip(&mut duel(&CARD, &WEAK), ME), Ok(40));
        assert_eq!(flint_nip(&mut duel(&CARD, &TOUGH), ME), Ok(0));
    }

    #[test]
    fn dig_through_ignores_resistance() {
        let mut game = duel(&CARD, &TOUGH);
        assert_eq!(dig_through(&mut game, ME), Ok(40));
        assert_eq!(game.active(FOE).unwrap().damage, 40);
    }

    #[test]
    fn dig_through_meets_weakness() {
        assert_eq!(dig_through(&mut duel(&CARD, &WEAK), ME), Ok(80));
        assert_eq!(dig_through(&mut duel(&CARD, &BOTH), ME), Ok(80));
    }
}
