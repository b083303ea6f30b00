#[cfg(test)]
mod eval_tests {
    use super::*;
    use crate::engine::testing::{duel, dummy, GOLEM};
    use crate::engine::{Card, CreatureSpec, Element, Energy, Game, Side};

    const ME: Side = Side::First;
    const FOE: Side = Side::Second;

    const WILD: Card = Card::Energy(Energy::Wild);

    fn with_hands(mine: usize, theirs: usize) -> Game {
        let mut game = duel(&CARD, &GOLEM);
        game.player_mut(ME).hand = vec![WILD; mine];
        game.player_mut(ME).deck = vec![WILD; 10];
        game.player_mut(FOE).hand = vec![WILD; theirs];
        game
    }

    #[test]
    fn jolt_does_50_when_behind() {
        assert_eq!(jolt(&mut with_hands(0, 1), ME), Ok(50));
        assert_eq!(jolt(&mut with_hands(3, 5), ME), Ok(50));
    }

    #[test]
    fn jolt_does_20_otherwise() {
        for (mine, theirs) in [(0, 0), (2, 2), (4, 1)] {
            assert_eq!(jolt(&mut with_hands(mine, theirs), ME), Ok(20));
        }
    }

    #[test]
    fn jolt_meets_weakness_after_the_bonus() {
        static WEAK: CreatureSpec = CreatureSpec {
            weakness: Some(Element::Storm),
            ..dummy("weak", Element::Tide, 200)
        };
        let mut game = duel(&CARD, &WEAK);
        game.player_mut(FOE).hand = vec![WILD];
        assert_eq!(jolt(&mut game, ME), Ok(100));
    }

    #[test]
    fn lure_light_catches_up() {
        let mut game = with_hands(1, 3);
        assert_eq!(lure_light(&mut game, ME), Ok(0));
        assert_eq!(game.player(ME).hand.len(), 3);
        assert_eq!(game.player(ME).deck.len(), 8);
        assert_eq!(game.active(FOE).unwrap().damage, 0);
    }

    #[test]
    fn lure_light_stops_at_four() {
        let mut game = with_hands(0, 7);
        lure_light(&mut game, ME).unwrap();
        assert_eq!(game.player(ME).hand.len(), 4);
    }

    #[test]
    fn lure_light_never_discards() {
        for (mine, theirs) in [(2, 2), (3, 1), (6, 7), (5, 0)] {
            let mut game = with_hands(mine, theirs);
            lure_light(&mut game, ME).unwrap();
            assert_eq!(game.player(ME).hand.len(), mine);
        }
    }

    #[test]
    fn lure_light_takes_what_the_deck_has() {
        let mut game = with_hands(0, 3);
        game.player_mut(ME).deck.truncate(2);
        lure_light(&mut game, ME).unwrap();
        assert_eq!(game.player(ME).hand.len(), 2);
        assert!(game.player(ME).deck.is_empty());
    }
}
