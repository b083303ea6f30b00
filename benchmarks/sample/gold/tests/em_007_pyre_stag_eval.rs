#[cfg(test)]
mod eval_tests {
    use super::*;
    use crate::engine::testing::{duel, dummy, fill_bench, GOLEM};
    use crate::engine::{Answer, Card, CreatureSpec, Effect, EffectKind, Element, Energy, Place, RuleError, Side};

    const ME: Side = Side::First;
    const FOE: Side = Side::Second;

    const FLAME: Card = Card::Energy(Energy::Basic(Element::Flame));
    const TIDE: Card = Card::Energy(Energy::Basic(Element::Tide));
    const WILD: Card = Card::Energy(Energy::Wild);

    static FAWN: CreatureSpec = dummy("Kindle Fawn", Element::Flame, 50);

    #[test]
    fn rekindle_attaches_the_chosen_energy() {
        let mut game = duel(&GOLEM, &GOLEM);
        fill_bench(&mut game, ME, &[&FAWN]);
        let own = Place::bench(ME, 0);
        game.player_mut(ME).hand = vec![Card::Creature(&CARD)];
        game.player_mut(ME).discard = vec![FLAME, TIDE, FLAME, WILD, FLAME];
        game.prompts.script([Answer::Pick(vec![2, 0])]);
        game.evolve(0, own).unwrap();
        assert_eq!(game.creature(own).unwrap().energy, [Energy::Basic(Element::Flame); 2]);
        assert_eq!(game.player(ME).discard, [TIDE, FLAME, WILD]);
        assert!(game.active(ME).unwrap().energy.is_empty());
    }

    #[test]
    fn rekindle_offers_basic_flame_energy_only() {
        let mut game = duel(&CARD, &GOLEM);
        game.player_mut(ME).discard = vec![WILD, TIDE, Card::Creature(&FAWN), FLAME];
        game.prompts.script([Answer::Pick(vec![0])]);
        rekindle(&mut game, Place::active(ME)).unwrap();
        assert_eq!(game.prompts.asked()[0].options, 1);
        assert_eq!(game.active(ME).unwrap().energy, [Energy::Basic(Element::Flame)]);
        assert_eq!(game.player(ME).discard, [WILD, TIDE, Card::Creature(&FAWN)]);
    }

    #[test]
    fn rekindle_may_be_declined() {
        let mut game = duel(&CARD, &GOLEM);
        game.player_mut(ME).discard = vec![FLAME, FLAME];
        rekindle(&mut game, Place::active(ME)).unwrap();
        assert!(game.active(ME).unwrap().energy.is_empty());
        assert_eq!(game.player(ME).discard.len(), 2);
    }

    #[test]
    fn rekindle_asks_nothing_without_flame() {
        let mut game = duel(&CARD, &GOLEM);
        game.player_mut(ME).discard = vec![TIDE, WILD];
        game.player_mut(FOE).discard = vec![FLAME];
        rekindle(&mut game, Place::active(ME)).unwrap();
        assert!(game.prompts.asked().is_empty());
        assert!(game.active(ME).unwrap().energy.is_empty());
    }

    #[test]
    fn rekindle_takes_two_at_most() {
        let mut game = duel(&CARD, &GOLEM);
        game.player_mut(ME).discard = vec![FLAME; 4];
        game.prompts.script([Answer::Pick(vec![0, 1, 2])]);
        let refused = rekindle(&mut game, Place::active(ME));
        assert!(matches!(refused, Err(RuleError::BadAnswer(_))));
    }

    #[test]
    fn antler_blaze_heals_half_the_damage_done() {
        static WEAK: CreatureSpec = CreatureSpec {
            weakness: Some(Element::Flame),
            ..dummy("weak", Element::Root, 200)
        };
        for (defender, done, left) in [(&GOLEM, 50, 60), (&WEAK, 100, 30)] {
            let mut game = duel(&CARD, defender);
            game.put_damage(Place::active(ME), 80).unwrap();
            assert_eq!(antler_blaze(&mut game, ME), Ok(done));
            assert_eq!(game.active(ME).unwrap().damage, left);
        }
    }

    #[test]
    fn antler_blaze_rounds_down() {
        static TOUGH: CreatureSpec = CreatureSpec {
            resistance: Some(Element::Flame),
            ..dummy("tough", Element::Tide, 200)
        };
        let mut game = duel(&CARD, &TOUGH);
        game.put_damage(Place::active(ME), 30).unwrap();
        assert_eq!(antler_blaze(&mut game, ME), Ok(30));
        assert_eq!(game.active(ME).unwrap().damage, 20);
        let wall = Effect::next_turn(EffectKind::PreventDamage, game.turn - 1);
        game.add_effect(Place::active(FOE), wall).unwrap();
        assert_eq!(antler_blaze(&mut game, ME), Ok(0));
        assert_eq!(game.active(ME).unwrap().damage, 20);
    }
}
