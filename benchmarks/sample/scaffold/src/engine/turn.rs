//! What happens between turns.

use super::card::AbilityKind;
use super::condition::Condition;
use super::error::RuleError;
use super::game::{Game, Place, Side};
use super::rng::Coin;

const POISON_DAMAGE: u32 = 10;
const BURN_DAMAGE: u32 = 20;

impl Game {
    /// Ends the current turn: conditions, abilities between turns and knock-outs, then the other player draws a card.
    pub fn end_turn(&mut self) -> Result<(), RuleError> {
        self.atomically(|game| {
            let ending = game.current;
            if let Ok(creature) = game.active_mut(ending) {
                creature.conditions.remove(Condition::Stunned);
            }
            for side in [ending, ending.other()] {
                game.suffer_conditions(side)?;
            }
            for side in [ending, ending.other()] {
                game.abilities_between_turns(side)?;
            }
            game.resolve_knockouts()?;
            game.begin_turn(ending.other());
            Ok(())
        })
    }

    /// Poison, burns and sleep of the active creature, in this order.
    fn suffer_conditions(&mut self, side: Side) -> Result<(), RuleError> {
        let place = Place::active(side);
        let Ok(creature) = self.creature(place) else {
            return Ok(());
        };
        let conditions = creature.conditions.clone();
        if conditions.has(Condition::Poisoned) {
            self.put_damage(place, POISON_DAMAGE)?;
        }
        if conditions.has(Condition::Burned) {
            self.put_damage(place, BURN_DAMAGE)?;
        }
        for condition in [Condition::Burned, Condition::Asleep] {
            if conditions.has(condition) && self.flip() == Coin::Heads {
                self.creature_mut(place)?.conditions.remove(condition);
            }
        }
        Ok(())
    }

    fn abilities_between_turns(&mut self, side: Side) -> Result<(), RuleError> {
        for place in self.places(side) {
            for ability in self.creature(place)?.spec.abilities {
                if let AbilityKind::BetweenTurns(effect) = ability.kind {
                    effect(self, place)?;
                }
            }
        }
        Ok(())
    }

    fn begin_turn(&mut self, side: Side) {
        self.turn += 1;
        self.current = side;
        let turn = self.turn;
        for side in [Side::First, Side::Second] {
            let player = self.player_mut(side);
            player.energy_attached = false;
            player.ally_played = false;
            player.retreated = false;
            for creature in player.active.iter_mut().chain(&mut player.bench) {
                creature.effects.retain(|e| e.until_turn >= turn);
            }
        }
        self.draw(side, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::{duel, seed_for, seeded_duel, GOLEM};

    const ME: Side = Side::First;
    const FOE: Side = Side::Second;

    #[test]
    fn poison_and_burns_hurt_between_turns() {
        let mut game = seeded_duel(&GOLEM, &GOLEM, seed_for(&[Coin::Tails, Coin::Heads]));
        game.inflict(FOE, Condition::Poisoned).unwrap();
        game.inflict(FOE, Condition::Burned).unwrap();
        game.end_turn().unwrap();
        assert_eq!(game.active(FOE).unwrap().damage, 30);
        assert!(game.active(FOE).unwrap().conditions.has(Condition::Burned));
        game.end_turn().unwrap();
        assert_eq!(game.active(FOE).unwrap().damage, 60);
        assert!(!game.active(FOE).unwrap().conditions.has(Condition::Burned));
    }

    #[test]
    fn stunned_ends_after_its_owners_turn() {
        let mut game = duel(&GOLEM, &GOLEM);
        game.inflict(FOE, Condition::Stunned).unwrap();
        game.end_turn().unwrap();
        assert_eq!(game.attack(FOE, 0), Err(RuleError::Prevented("Stunned")));
        game.end_turn().unwrap();
        assert!(game.active(FOE).unwrap().conditions.is_empty());
    }

    #[test]
    fn a_sleeper_wakes_on_heads() {
        let mut game = seeded_duel(&GOLEM, &GOLEM, seed_for(&[Coin::Heads]));
        game.inflict(ME, Condition::Asleep).unwrap();
        game.end_turn().unwrap();
        assert!(game.active(ME).unwrap().conditions.is_empty());
        assert_eq!((game.turn, game.current), (4, FOE));
    }
}
