#[cfg(test)]
mod eval_tests {
    use super::*;
    use crate::engine::testing::{charge, duel, dummy, fill_bench, seed_for, seeded_duel, GOLEM};
    use crate::engine::{Card, Coin, CreatureSpec, Effect, EffectKind, Element, Energy, Place, Side};

    const ME: Side = Side::First;
    const FOE: Side = Side::Second;

    use Coin::{Heads, Tails};

    #[test]
    fn reef_wall_protects_the_bench() {
        let mut game = duel(&GOLEM, &CARD);
        fill_bench(&mut game, FOE, &[&GOLEM, &CARD]);
        assert_eq!(game.hit(ME, Place::bench(FOE, 0), 50), Ok(0));
        assert_eq!(game.hit(ME, Place::bench(FOE, 1), 50), Ok(0));
        assert!(game.player(FOE).bench.iter().all(|c| c.damage == 0));
    }

    #[test]
    fn reef_wall_needs_to_be_active() {
        let mut game = duel(&GOLEM, &GOLEM);
        fill_bench(&mut game, FOE, &[&GOLEM, &CARD]);
        assert_eq!(game.strike(ME, 40), Ok(40));
        assert_eq!(game.hit(ME, Place::bench(FOE, 0), 50), Ok(50));
        assert_eq!(game.hit(ME, Place::bench(FOE, 1), 50), Ok(50));
    }

    #[test]
    fn reef_wall_holds_off_the_opponent_only() {
        let mut game = duel(&CARD, &GOLEM);
        fill_bench(&mut game, ME, &[&GOLEM]);
        assert_eq!(game.hit(ME, Place::bench(ME, 0), 10), Ok(10));
        assert_eq!(game.strike(FOE, 40), Ok(40));
        assert_eq!(game.hit(FOE, Place::active(ME), 40), Ok(40));
    }

    #[test]
    fn pressure_leaves_30_hp() {
        let mut game = duel(&CARD, &GOLEM);
        game.put_damage(Place::active(FOE), 20).unwrap();
        assert_eq!(pressure(&mut game, ME), Ok(70));
        assert_eq!(game.active(FOE).unwrap().remaining_hp(), 30);
    }

    #[test]
    fn pressure_spares_the_weakened() {
        for left in [30, 20] {
            let mut game = duel(&CARD, &GOLEM);
            game.put_damage(Place::active(FOE), GOLEM.hp - left).unwrap();
            assert_eq!(pressure(&mut game, ME), Ok(0));
            assert_eq!(game.active(FOE).unwrap().remaining_hp(), left);
        }
    }

    #[test]
    fn pressure_is_not_changed_by_anything() {
        static WEAK: CreatureSpec = CreatureSpec {
            weakness: Some(Element::Tide),
            ..dummy("weak", Element::Flame, 100)
        };
        let mut game = duel(&CARD, &WEAK);
        let now = game.turn - 1;
        let boost = Effect::next_turn(EffectKind::BoostDamage(10), now);
        game.add_effect(Place::active(ME), boost).unwrap();
        let wall = Effect::next_turn(EffectKind::PreventDamage, now);
        game.add_effect(Place::active(FOE), wall).unwrap();
        assert_eq!(pressure(&mut game, ME), Ok(70));
        assert_eq!(game.active(FOE).unwrap().remaining_hp(), 30);
    }

    #[test]
    fn maelstrom_discards_the_energy_of_each_heads() {
        let mut game = seeded_duel(&CARD, &GOLEM, seed_for(&[Heads, Tails, Heads]));
        for element in [Element::Flame, Element::Stone, Element::Root] {
            charge(&mut game, FOE, element, 1);
        }
        charge(&mut game, ME, Element::Tide, 4);
        assert_eq!(maelstrom(&mut game, ME), Ok(80));
        assert_eq!(game.active(FOE).unwrap().energy, [Energy::Basic(Element::Stone)]);
        let discarded = [Element::Flame, Element::Root].map(|e| Card::Energy(Energy::Basic(e)));
        assert_eq!(game.player(FOE).discard, discarded);
        assert_eq!(game.active(ME).unwrap().energy.len(), 4);
    }

    #[test]
    fn maelstrom_flips_once_for_each_energy() {
        let mut game = duel(&CARD, &GOLEM);
        charge(&mut game, ME, Element::Tide, 4);
        assert_eq!(maelstrom(&mut game, ME), Ok(80));
        assert!(game.flips().is_empty());
        let mut game = seeded_duel(&CARD, &GOLEM, seed_for(&[Tails, Tails, Heads]));
        charge(&mut game, FOE, Element::Stone, 2);
        assert_eq!(maelstrom(&mut game, ME), Ok(80));
        assert_eq!(game.flips(), [Tails, Tails]);
        assert_eq!(game.active(FOE).unwrap().energy.len(), 2);
    }
}
