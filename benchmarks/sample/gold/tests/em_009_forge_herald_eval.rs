#[cfg(test)]
mod eval_tests {
    use super::*;
    use crate::engine::testing::{duel, GOLEM};
    use crate::engine::{Answer, Card, Element, Energy, Game, RuleError, Side};

    const ME: Side = Side::First;

    const FLAME: Card = Card::Energy(Energy::Basic(Element::Flame));
    const TIDE: Card = Card::Energy(Energy::Basic(Element::Tide));
    const WILD: Card = Card::Energy(Energy::Wild);

    fn with_deck(deck: &[Card]) -> Game {
        let mut game = duel(&GOLEM, &GOLEM);
        game.player_mut(ME).deck = deck.to_vec();
        game
    }

    #[test]
    fn forge_herald_fetches_two_elements() {
        let mut game = with_deck(&[FLAME, WILD, FLAME, TIDE]);
        game.prompts.script([Answer::Pick(vec![2, 1])]);
        forge_herald(&mut game, ME).unwrap();
        assert_eq!(game.player(ME).hand, [TIDE, FLAME]);
        let deck = &game.player(ME).deck;
        assert_eq!(deck.len(), 2);
        assert!(deck.contains(&FLAME) && deck.contains(&WILD));
    }

    #[test]
    fn forge_herald_refuses_the_same_element_twice() {
        let mut game = with_deck(&[FLAME, FLAME, TIDE]);
        game.player_mut(ME).hand = vec![Card::Ally(&CARD)];
        game.prompts.script([Answer::Pick(vec![0, 1])]);
        assert!(matches!(game.play_ally(ME, 0), Err(RuleError::BadAnswer(_))));
        assert_eq!(game.player(ME).hand, [Card::Ally(&CARD)]);
        assert_eq!(game.player(ME).deck, [FLAME, FLAME, TIDE]);
    }

    #[test]
    fn forge_herald_offers_basic_energy_only() {
        let mut game = with_deck(&[WILD, Card::Creature(&GOLEM), TIDE, Card::Ally(&CARD), WILD]);
        game.prompts.script([Answer::Pick(vec![0])]);
        forge_herald(&mut game, ME).unwrap();
        assert_eq!(game.player(ME).hand, [TIDE]);
        assert_eq!(game.prompts.asked()[0].options, 1);
    }

    #[test]
    fn forge_herald_may_find_nothing() {
        let mut game = with_deck(&[FLAME, TIDE]);
        forge_herald(&mut game, ME).unwrap();
        assert!(game.player(ME).hand.is_empty());
        assert_eq!(game.player(ME).deck.len(), 2);
    }

    #[test]
    fn forge_herald_shuffles_in_any_case() {
        let ordered: Vec<Card> = [vec![FLAME; 15], vec![TIDE; 15]].concat();
        for chosen in [vec![], vec![0]] {
            let mut game = with_deck(&ordered);
            game.prompts.script([Answer::Pick(chosen.clone())]);
            forge_herald(&mut game, ME).unwrap();
            assert_ne!(game.player(ME).deck, ordered[chosen.len()..]);
        }
    }

    #[test]
    fn forge_herald_is_discarded() {
        let mut game = with_deck(&[]);
        game.player_mut(ME).hand = vec![FLAME, Card::Ally(&CARD)];
        game.play_ally(ME, 1).unwrap();
        assert_eq!(game.player(ME).hand, [FLAME]);
        assert_eq!(game.player(ME).discard, [Card::Ally(&CARD)]);
        assert!(game.prompts.asked().is_empty());
    }
}
