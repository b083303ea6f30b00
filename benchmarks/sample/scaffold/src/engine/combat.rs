//! Attacks, damage, healing and knock-outs.
//!
//! Damage to the opponent's active creature is worked out in this order: base, boosts of the attacker, weakness
//! (twice), resistance (20 less), the defender's lasting effects, shields. A base of 0 stays 0. Benched creatures
//! have no weakness and no resistance.

use super::card::AbilityKind;
use super::condition::Condition;
use super::creature::EffectKind;
use super::error::RuleError;
use super::game::{Game, Place, Side, Spot};
use super::rng::Coin;

/// What a Dazed creature does to itself when it stumbles.
const STUMBLE_DAMAGE: u32 = 30;
const RESISTANCE: u32 = 20;

/// Damage on its way to a creature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    pub attacker: Side,
    pub target: Place,
    pub amount: u32,
}

/// Damage that an attack does to the opponent's active creature. A plain number is one without exceptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strike {
    base: u32,
    weakness: bool,
    resistance: bool,
    protection: bool,
}

impl From<u32> for Strike {
    fn from(base: u32) -> Self {
        Strike {
            base,
            weakness: true,
            resistance: true,
            protection: true,
        }
    }
}

impl Strike {
    /// The same strike, not affected by weakness.
    pub fn ignoring_weakness(mut self) -> Self {
        self.weakness = false;
        self
    }

    /// The same strike, not affected by resistance.
    pub fn ignoring_resistance(mut self) -> Self {
        self.resistance = false;
        self
    }

    /// The same strike, not affected by lasting effects and shields of the defender.
    pub fn ignoring_protection(mut self) -> Self {
        self.protection = false;
        self
    }
}

impl Game {
    /// `side` attacks with its active creature; returns the damage done to the opponent's active one.
    ///
    /// # Errors
    /// `NotYourTurn`, `NobodyThere`, `NoSuchMove`, `Prevented`, `NotEnoughEnergy`, or what the attack's own effect
    /// raises.
    pub fn attack(&mut self, side: Side, index: usize) -> Result<u32, RuleError> {
        self.atomically(|game| {
            if game.current != side {
                return Err(RuleError::NotYourTurn);
            }
            let attacker = game.active(side)?;
            let attack = attacker.spec.attacks.get(index);
            let attack = attack.ok_or(RuleError::NoSuchMove)?;
            if let Some(condition) = attacker.conditions.immobilized_by() {
                return Err(RuleError::Prevented(condition));
            }
            if attacker.has_effect(EffectKind::CannotAttack, game.turn) {
                return Err(RuleError::Prevented("it cannot attack this turn"));
            }
            if !attacker.can_pay(attack.cost) {
                return Err(RuleError::NotEnoughEnergy);
            }
            let dazed = attacker.conditions.has(Condition::Dazed);
            let damage = if dazed && game.flip() == Coin::Tails {
                game.put_damage(Place::active(side), STUMBLE_DAMAGE)?;
                0
            } else {
                (attack.effect)(game, side)?
            };
            game.resolve_knockouts()?;
            Ok(damage)
        })
    }

    /// An attack of `attacker` damages the opponent's active creature; returns the damage done.
    pub fn strike(&mut self, attacker: Side, strike: impl Into<Strike>) -> Result<u32, RuleError> {
        let strike = strike.into();
        let target = Place::active(attacker.other());
        let source = self.active(attacker)?;
        let defender = self.creature(target)?;
        if strike.base == 0 {
            return Ok(0);
        }
        let element = source.spec.element;
        let mut amount = strike.base;
        for effect in source.effects_in(self.turn) {
            if let EffectKind::BoostDamage(boost) = effect {
                amount += boost;
            }
        }
        if strike.weakness && defender.spec.weakness == Some(element) {
            amount *= 2;
        }
        if strike.resistance && defender.spec.resistance == Some(element) {
            amount = amount.saturating_sub(RESISTANCE);
        }
        if strike.protection {
            amount = self.protected(Hit {
                attacker,
                target,
                amount,
            })?;
        }
        self.put_damage(target, amount)?;
        Ok(amount)
    }

    /// An attack of `attacker` damages any one creature, without weakness and resistance; returns the damage done.
    ///
    /// A creature's damage to its own side is not held off by protection.
    pub fn hit(&mut self, attacker: Side, target: Place, amount: u32) -> Result<u32, RuleError> {
        self.creature(target)?;
        let amount = if attacker == target.side {
            amount
        } else {
            self.protected(Hit {
                attacker,
                target,
                amount,
            })?
        };
        self.put_damage(target, amount)?;
        Ok(amount)
    }

    /// Puts damage on a creature as it is: no modifier, effect or shield applies.
    pub fn put_damage(&mut self, place: Place, amount: u32) -> Result<(), RuleError> {
        self.creature_mut(place)?.damage += amount;
        Ok(())
    }

    /// Takes up to `amount` damage off a creature; returns how much was taken off.
    pub fn heal(&mut self, place: Place, amount: u32) -> Result<u32, RuleError> {
        let creature = self.creature_mut(place)?;
        let healed = amount.min(creature.damage);
        creature.damage -= healed;
        Ok(healed)
    }

    /// Discards every creature without HP left, and has their owners replace the active ones.
    pub fn resolve_knockouts(&mut self) -> Result<(), RuleError> {
        for side in [self.current.other(), self.current] {
            for place in self.places(side).into_iter().rev() {
                if self.creature(place)?.is_knocked_out() {
                    self.knock_out(place)?;
                }
            }
        }
        for side in [self.current.other(), self.current] {
            self.promote(side)?;
        }
        Ok(())
    }

    /// What the defender's lasting effects and its side's shields leave of a hit.
    fn protected(&self, mut hit: Hit) -> Result<u32, RuleError> {
        for effect in self.creature(hit.target)?.effects_in(self.turn) {
            match effect {
                EffectKind::ReduceDamage(less) => hit.amount = hit.amount.saturating_sub(less),
                EffectKind::PreventDamage => hit.amount = 0,
                _ => {}
            }
        }
        for place in self.places(hit.target.side) {
            for ability in self.creature(place)?.spec.abilities {
                if let AbilityKind::Shield(shield) = ability.kind {
                    hit.amount = shield(self, place, &hit);
                }
            }
        }
        Ok(hit.amount)
    }

    fn knock_out(&mut self, place: Place) -> Result<(), RuleError> {
        let cards = self.creature(place)?.cards();
        let player = self.player_mut(place.side);
        player.discard.extend(cards);
        match place.spot {
            Spot::Active => player.active = None,
            Spot::Bench(position) => drop(player.bench.remove(position)),
        }
        self.player_mut(place.side.other()).trophies += 1;
        Ok(())
    }

    /// Has a player without an active creature choose one from the bench.
    fn promote(&mut self, side: Side) -> Result<(), RuleError> {
        let player = self.player(side);
        if player.active.is_some() {
            return Ok(());
        }
        let options = player.bench.len();
        let question = "Choose your new active creature";
        if let Some(position) = self.prompts.pick_one(side, question, options)? {
            let player = self.player_mut(side);
            player.active = Some(player.bench.remove(position));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::card::{Ability, CreatureSpec, Element};
    use crate::engine::creature::{Creature, Effect};
    use crate::engine::prompt::Answer;
    use crate::engine::testing::{duel, dummy, seed_for, seeded_duel, GOLEM};

    const ME: Side = Side::First;
    const FOE: Side = Side::Second;

    static WEAK: CreatureSpec = CreatureSpec {
        weakness: Some(Element::Stone),
        ..dummy("weak", Element::Plain, 200)
    };
    static TOUGH: CreatureSpec = CreatureSpec {
        resistance: Some(Element::Stone),
        ..dummy("tough", Element::Plain, 200)
    };
    static SHIELDED: CreatureSpec = CreatureSpec {
        abilities: &[Ability {
            name: "Half Shell",
            text: "Damage done to this creature by attacks is halved.",
            kind: AbilityKind::Shield(half_shell),
        }],
        ..dummy("shielded", Element::Plain, 200)
    };

    fn half_shell(_: &Game, own: Place, hit: &Hit) -> u32 {
        if hit.target == own {
            hit.amount / 2
        } else {
            hit.amount
        }
    }

    #[test]
    fn boosts_come_before_weakness_and_reductions_after() {
        let mut game = duel(&GOLEM, &WEAK);
        let turn = game.turn;
        let boost = Effect::next_turn(EffectKind::BoostDamage(10), turn - 1);
        game.add_effect(Place::active(ME), boost).unwrap();
        let less = Effect::next_turn(EffectKind::ReduceDamage(20), turn - 1);
        game.add_effect(Place::active(FOE), less).unwrap();
        assert_eq!(game.strike(ME, 30), Ok((30 + 10) * 2 - 20));
        assert_eq!(game.active(FOE).unwrap().damage, 60);
    }

    #[test]
    fn resistance_never_heals() {
        let mut game = duel(&GOLEM, &TOUGH);
        assert_eq!(game.strike(ME, 10), Ok(0));
        assert_eq!(game.strike(ME, Strike::from(10).ignoring_resistance()), Ok(10));
        assert_eq!(game.strike(ME, 50), Ok(30));
    }

    #[test]
    fn a_base_of_zero_stays_zero() {
        let mut game = duel(&GOLEM, &WEAK);
        let boost = Effect::next_turn(EffectKind::BoostDamage(50), game.turn - 1);
        game.add_effect(Place::active(ME), boost).unwrap();
        assert_eq!(game.strike(ME, 0), Ok(0));
    }

    #[test]
    fn shields_can_be_ignored() {
        let mut game = duel(&GOLEM, &SHIELDED);
        assert_eq!(game.strike(ME, 40), Ok(20));
        assert_eq!(game.strike(ME, Strike::from(40).ignoring_protection()), Ok(40));
    }

    #[test]
    fn healing_stops_at_no_damage() {
        let mut game = duel(&GOLEM, &GOLEM);
        game.put_damage(Place::active(ME), 20).unwrap();
        assert_eq!(game.heal(Place::active(ME), 50), Ok(20));
        assert_eq!(game.active(ME).unwrap().damage, 0);
    }

    #[test]
    fn a_dazed_creature_may_stumble() {
        let mut game = seeded_duel(&GOLEM, &GOLEM, seed_for(&[Coin::Tails]));
        game.inflict(ME, Condition::Dazed).unwrap();
        assert_eq!(game.attack(ME, 0), Ok(0));
        assert_eq!(game.active(ME).unwrap().damage, STUMBLE_DAMAGE);
    }

    #[test]
    fn a_knocked_out_creature_is_replaced_by_its_owners_choice() {
        let mut game = duel(&GOLEM, &GOLEM);
        game.player_mut(FOE).bench = vec![Creature::new(&WEAK, 1), Creature::new(&TOUGH, 1)];
        game.active_mut(FOE).unwrap().damage = GOLEM.hp;
        game.prompts.script([Answer::Pick(vec![1])]);
        game.resolve_knockouts().unwrap();
        assert_eq!(game.active(FOE).unwrap().spec, &TOUGH);
        assert_eq!(game.player(FOE).bench.len(), 1);
        assert_eq!(game.player(FOE).discard.len(), 1);
        assert_eq!(game.player(ME).trophies, 1);
    }

    #[test]
    fn an_illegal_attack_changes_nothing() {
        let mut game = duel(&GOLEM, &GOLEM);
        assert_eq!(game.attack(FOE, 0), Err(RuleError::NotYourTurn));
        assert_eq!(game.attack(ME, 9), Err(RuleError::NoSuchMove));
        game.inflict(ME, Condition::Asleep).unwrap();
        assert_eq!(game.attack(ME, 0), Err(RuleError::Prevented("Asleep")));
        assert_eq!(game.active(FOE).unwrap().damage, 0);
    }
}
