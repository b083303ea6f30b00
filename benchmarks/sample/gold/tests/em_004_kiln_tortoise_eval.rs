#[cfg(test)]
mod eval_tests {
    use super::*;
    use crate::engine::testing::{charge, duel, GOLEM};
    use crate::engine::{Answer, Card, Element, Energy, Side};

    const ME: Side = Side::First;
    const FOE: Side = Side::Second;

    #[test]
    fn banked_heat_adds_nothing_for_the_first_flame() {
        let mut game = duel(&CARD, &GOLEM);
        assert_eq!(banked_heat(&mut game, ME), Ok(10));
        charge(&mut game, ME, Element::Flame, 1);
        assert_eq!(banked_heat(&mut game, ME), Ok(10));
    }

    #[test]
    fn banked_heat_adds_20_for_each_further_flame() {
        let mut game = duel(&CARD, &GOLEM);
        charge(&mut game, ME, Element::Flame, 3);
        assert_eq!(banked_heat(&mut game, ME), Ok(50));
        assert_eq!(game.active(ME).unwrap().energy.len(), 3);
    }

    #[test]
    fn banked_heat_adds_60_at_most() {
        let mut game = duel(&CARD, &GOLEM);
        charge(&mut game, ME, Element::Flame, 4);
        assert_eq!(banked_heat(&mut game, ME), Ok(70));
        charge(&mut game, ME, Element::Flame, 2);
        assert_eq!(banked_heat(&mut game, ME), Ok(70));
    }

    #[test]
    fn banked_heat_counts_wild_but_no_other_energy() {
        let mut game = duel(&CARD, &GOLEM);
        charge(&mut game, ME, Element::Flame, 1);
        charge(&mut game, ME, Element::Tide, 2);
        assert_eq!(banked_heat(&mut game, ME), Ok(10));
        game.active_mut(ME).unwrap().energy.push(Energy::Wild);
        assert_eq!(banked_heat(&mut game, ME), Ok(30));
    }

    #[test]
    fn vent_discards_the_chosen_energy() {
        let mut game = duel(&CARD, &GOLEM);
        charge(&mut game, ME, Element::Flame, 1);
        charge(&mut game, ME, Element::Tide, 1);
        game.prompts.script([Answer::Pick(vec![1])]);
        assert_eq!(vent(&mut game, ME), Ok(40));
        assert_eq!(game.active(ME).unwrap().energy, [Energy::Basic(Element::Flame)]);
        assert_eq!(game.player(ME).discard, [Card::Energy(Energy::Basic(Element::Tide))]);
    }

    #[test]
    fn vent_needs_energy() {
        let mut game = duel(&CARD, &GOLEM);
        assert_eq!(vent(&mut game, ME), Ok(0));
        assert_eq!(game.active(FOE).unwrap().damage, 0);
        assert!(game.prompts.asked().is_empty());
    }
}
