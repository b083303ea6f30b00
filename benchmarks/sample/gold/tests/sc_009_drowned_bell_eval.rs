#[cfg(test)]
mod eval_tests {
    use super::*;
    use crate::engine::testing::{seed_for, seeded_duel, GOLEM};
    use crate::engine::{Card, Coin, Element, Energy, Game, Side};

    const ME: Side = Side::First;
    const FOE: Side = Side::Second;

    const MINE: Card = Card::Energy(Energy::Basic(Element::Tide));
    const THEIRS: Card = Card::Energy(Energy::Basic(Element::Flame));
    const HELD: Card = Card::Energy(Energy::Wild);

    fn table(coin: Coin, held: usize, in_deck: usize) -> Game {
        let mut game = seeded_duel(&GOLEM, &GOLEM, seed_for(&[coin]));
        for (side, card) in [(ME, MINE), (FOE, THEIRS)] {
            game.player_mut(side).hand = vec![HELD; held];
            game.player_mut(side).deck = vec![card; in_deck];
        }
        game
    }

    fn sizes(game: &Game, side: Side) -> (usize, usize) {
        (game.player(side).hand.len(), game.player(side).deck.len())
    }

    #[test]
    fn drowned_bell_gives_you_5_on_heads() {
        let mut game = table(Coin::Heads, 2, 10);
        drowned_bell(&mut game, ME).unwrap();
        assert_eq!(sizes(&game, ME), (5, 7));
        assert_eq!(sizes(&game, FOE), (3, 9));
    }

    #[test]
    fn drowned_bell_gives_them_5_on_tails() {
        let mut game = table(Coin::Tails, 7, 10);
        drowned_bell(&mut game, ME).unwrap();
        assert_eq!(sizes(&game, ME), (3, 14));
        assert_eq!(sizes(&game, FOE), (5, 12));
    }

    #[test]
    fn drowned_bell_favours_whoever_plays_it() {
        let mut game = table(Coin::Heads, 0, 10);
        drowned_bell(&mut game, FOE).unwrap();
        assert_eq!(sizes(&game, ME), (3, 7));
        assert_eq!(sizes(&game, FOE), (5, 5));
    }

    #[test]
    fn drowned_bell_shuffles_the_hands_in() {
        let mut game = table(Coin::Heads, 4, 200);
        drowned_bell(&mut game, ME).unwrap();
        for (side, card) in [(ME, MINE), (FOE, THEIRS)] {
            let player = game.player(side);
            let held = player.deck.iter().chain(&player.hand).filter(|c| **c == HELD);
            assert_eq!(held.count(), 4);
            assert!(player.hand.contains(&card), "the hand was not shuffled into the deck");
            assert_ne!(player.deck[..2], [HELD; 2], "the deck was not shuffled");
            assert_ne!(
                player.deck[player.deck.len() - 2..],
                [HELD; 2],
                "the deck was not shuffled"
            );
        }
    }

    #[test]
    fn drowned_bell_draws_what_there_is() {
        let mut game = table(Coin::Heads, 1, 1);
        game.player_mut(FOE).hand.clear();
        game.player_mut(FOE).deck.clear();
        assert_eq!(drowned_bell(&mut game, ME), Ok(()));
        assert_eq!(sizes(&game, ME), (2, 0));
        assert_eq!(sizes(&game, FOE), (0, 0));
    }

    #[test]
    fn drowned_bell_itself_is_discarded() {
        let mut game = table(Coin::Heads, 0, 2);
        game.player_mut(ME).hand = vec![HELD, Card::Ally(&CARD)];
        game.play_ally(ME, 1).unwrap();
        assert_eq!(game.player(ME).discard, [Card::Ally(&CARD)]);
        assert_eq!(sizes(&game, ME), (3, 0));
        assert!(!game.player(ME).hand.contains(&Card::Ally(&CARD)));
        assert_eq!(game.flips(), [Coin::Heads]);
    }
}
