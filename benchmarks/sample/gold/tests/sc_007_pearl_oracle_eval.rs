#[cfg(test)]
mod eval_tests {
    use super::*;
    use crate::engine::testing::{duel, dummy, GOLEM};
    use crate::engine::{Answer, Card, CreatureSpec, Element, Energy, Game, Place, RuleError, Side};

    const ME: Side = Side::First;
    const FOE: Side = Side::Second;

    const A: Card = Card::Energy(Energy::Basic(Element::Flame));
    const B: Card = Card::Energy(Energy::Basic(Element::Tide));
    const C: Card = Card::Energy(Energy::Basic(Element::Root));
    const D: Card = Card::Energy(Energy::Basic(Element::Storm));
    const E: Card = Card::Energy(Energy::Wild);
    const BEAST: Card = Card::Creature(&GOLEM);

    fn with_decks(mine: &[Card], theirs: &[Card]) -> Game {
        let mut game = duel(&CARD, &GOLEM);
        game.player_mut(ME).deck = mine.to_vec();
        game.player_mut(FOE).deck = theirs.to_vec();
        game
    }

    #[test]
    fn second_sight_takes_the_chosen_card() {
        for (choice, card) in [(0, E), (1, D), (2, C)] {
            let mut game = with_decks(&[A, B, C, D, E], &[]);
            game.prompts.script([Answer::Pick(vec![choice])]);
            second_sight(&mut game, Place::active(ME)).unwrap();
            assert_eq!(game.player(ME).hand, [card]);
            assert_eq!(game.player(ME).deck.len(), 4);
        }
    }

    #[test]
    fn second_sight_puts_the_others_on_the_bottom() {
        let mut game = with_decks(&[A, B, C, D, E], &[]);
        game.prompts.script([Answer::Pick(vec![1])]);
        game.use_ability(Place::active(ME)).unwrap();
        assert_eq!(game.player(ME).deck, [C, E, A, B]);
    }

    #[test]
    fn second_sight_makes_do_with_a_small_deck() {
        let mut game = with_decks(&[A, B], &[]);
        game.prompts.script([Answer::Pick(vec![1])]);
        second_sight(&mut game, Place::active(ME)).unwrap();
        assert_eq!(game.prompts.asked()[0].options, 2);
        assert_eq!(game.player(ME).hand, [A]);
        second_sight(&mut game, Place::active(ME)).unwrap();
        assert_eq!(game.player(ME).hand, [A, B]);
        assert!(game.player(ME).deck.is_empty());
    }

    #[test]
    fn second_sight_needs_a_deck() {
        let mut game = with_decks(&[], &[A, B, C]);
        let own = Place::active(ME);
        assert!(matches!(game.use_ability(own), Err(RuleError::Prevented(_))));
        game.player_mut(ME).deck = vec![A];
        assert_eq!(game.use_ability(own), Ok(()));
    }

    #[test]
    fn erase_hours_discards_from_the_top() {
        let mut game = with_decks(&[A, B, C], &[A, B, BEAST, D]);
        assert_eq!(erase_hours(&mut game, ME), Ok(50));
        assert_eq!(game.player(FOE).discard, [D, BEAST]);
        assert_eq!(game.player(FOE).deck, [A, B]);
        assert_eq!(game.player(ME).deck.len(), 3);
    }

    #[test]
    fn erase_hours_does_20_more_for_each_energy() {
        static WEAK: CreatureSpec = CreatureSpec {
            weakness: Some(Element::Tide),
            ..dummy("weak", Element::Flame, 200)
        };
        for (top, damage) in [([BEAST, BEAST], 30), ([E, BEAST], 50), ([A, E], 70)] {
            let mut game = with_decks(&[], &[[C, C], top].concat());
            assert_eq!(erase_hours(&mut game, ME), Ok(damage));
            assert_eq!(game.active(FOE).unwrap().damage, damage);
        }
        let mut game = duel(&CARD, &WEAK);
        game.player_mut(FOE).deck = vec![A, BEAST];
        assert_eq!(erase_hours(&mut game, ME), Ok(100));
    }

    #[test]
    fn erase_hours_makes_do_with_a_small_deck() {
        let mut game = with_decks(&[], &[BEAST]);
        assert_eq!(erase_hours(&mut game, ME), Ok(30));
        assert_eq!(game.player(FOE).discard, [BEAST]);
        assert_eq!(erase_hours(&mut game, ME), Ok(30));
        assert_eq!(game.player(FOE).discard, [BEAST]);
    }
}
