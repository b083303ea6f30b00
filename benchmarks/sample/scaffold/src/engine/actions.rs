//! What a player may do in a turn, apart from attacking.

use super::card::{AbilityKind, Card, Stage};
use super::condition::Condition;
use super::creature::{Creature, EffectKind};
use super::error::RuleError;
use super::game::{Game, Place, Side, BENCH_SIZE};

impl Game {
    /// Puts a basic creature from the hand into play: active if there is none, else on the bench. Returns where it
    /// is.
    pub fn play_basic(&mut self, side: Side, hand_position: usize) -> Result<Place, RuleError> {
        let turn = self.turn;
        let player = self.player_mut(side);
        let card = player.hand.get(hand_position).copied();
        let spec = card.and_then(Card::as_creature);
        let spec = spec.filter(|s| s.stage == Stage::Basic);
        let creature = Creature::new(spec.ok_or(RuleError::NoSuchCard)?, turn);
        if player.active.is_some() && player.bench.len() >= BENCH_SIZE {
            return Err(RuleError::BenchFull);
        }
        player.hand.remove(hand_position);
        if player.active.is_none() {
            player.active = Some(creature);
            return Ok(Place::active(side));
        }
        player.bench.push(creature);
        Ok(Place::bench(side, player.bench.len() - 1))
    }

    /// Attaches an energy card from the hand to a creature, once each turn.
    pub fn attach_energy(&mut self, hand_position: usize, place: Place) -> Result<(), RuleError> {
        self.creature(place)?;
        let player = self.player_mut(place.side);
        if player.energy_attached {
            return Err(RuleError::AlreadyDone("attaching energy"));
        }
        let card = player.hand.get(hand_position).copied();
        let energy = card.and_then(Card::as_energy);
        let energy = energy.ok_or(RuleError::NoSuchCard)?;
        player.hand.remove(hand_position);
        player.energy_attached = true;
        self.creature_mut(place)?.energy.push(energy);
        Ok(())
    }

    /// Evolves a creature with a card from the hand. It keeps damage and energy, shakes off conditions and effects,
    /// and the new card's "when you evolve" abilities take place.
    ///
    /// # Errors
    /// `CannotEvolve` if the card does not evolve from that creature, or the creature came into play or evolved this
    /// turn.
    pub fn evolve(&mut self, hand_position: usize, place: Place) -> Result<(), RuleError> {
        self.atomically(|game| {
            let turn = game.turn;
            let hand = &mut game.player_mut(place.side).hand;
            let card = hand.get(hand_position).copied();
            let spec = card.and_then(Card::as_creature);
            let spec = spec.ok_or(RuleError::NoSuchCard)?;
            hand.remove(hand_position);
            let creature = game.creature_mut(place)?;
            if spec.evolves_from != Some(creature.spec.name) || creature.since_turn >= turn {
                return Err(RuleError::CannotEvolve);
            }
            creature.evolved_from.push(creature.spec);
            creature.spec = spec;
            creature.since_turn = turn;
            creature.ability_used = None;
            creature.shake_off();
            for ability in spec.abilities {
                if let AbilityKind::OnEvolve(effect) = ability.kind {
                    effect(game, place)?;
                }
            }
            Ok(())
        })
    }

    /// Uses the activated ability of a creature, once each turn and creature.
    ///
    /// # Errors
    /// `NotYourTurn`, `NobodyThere`, `NoSuchMove`, `Prevented`, `AlreadyDone`, or what the ability's own effect
    /// raises.
    pub fn use_ability(&mut self, place: Place) -> Result<(), RuleError> {
        self.atomically(|game| {
            if game.current != place.side {
                return Err(RuleError::NotYourTurn);
            }
            let turn = game.turn;
            let creature = game.creature(place)?;
            let activated = |kind| match kind {
                AbilityKind::Activated(effect) => Some(effect),
                _ => None,
            };
            let mut effects = creature.spec.abilities.iter().map(|a| activated(a.kind));
            let effect = effects.find_map(|e| e).ok_or(RuleError::NoSuchMove)?;
            if let Some(condition) = creature.conditions.immobilized_by() {
                return Err(RuleError::Prevented(condition));
            }
            if creature.conditions.has(Condition::Dazed) {
                return Err(RuleError::Prevented("Dazed"));
            }
            if creature.ability_used == Some(turn) {
                return Err(RuleError::AlreadyDone("using this ability"));
            }
            game.creature_mut(place)?.ability_used = Some(turn);
            effect(game, place)?;
            game.resolve_knockouts()
        })
    }

    /// Plays an ally card from the hand, once each turn; it is discarded after its effect.
    pub fn play_ally(&mut self, side: Side, hand_position: usize) -> Result<(), RuleError> {
        self.atomically(|game| {
            let player = game.player_mut(side);
            let card = player.hand.get(hand_position).copied();
            let Some(Card::Ally(ally)) = card else {
                return Err(RuleError::NoSuchCard);
            };
            if player.ally_played {
                return Err(RuleError::AlreadyDone("playing an ally"));
            }
            player.ally_played = true;
            player.hand.remove(hand_position);
            (ally.effect)(game, side)?;
            game.player_mut(side).discard.push(Card::Ally(ally));
            Ok(())
        })
    }

    /// What it costs the creature in `place` to retreat.
    pub fn retreat_cost(&self, place: Place) -> Result<usize, RuleError> {
        let spec = self.creature(place)?.spec;
        let cost = spec.abilities.iter().fold(spec.retreat_cost, |cost, a| {
            if let AbilityKind::RetreatCost(change) = a.kind {
                change(self, place, cost)
            } else {
                cost
            }
        });
        Ok(cost)
    }

    /// Exchanges the active creature with a benched one, once each turn, discarding energy of the player's choice.
    pub fn retreat(&mut self, side: Side, bench_position: usize) -> Result<(), RuleError> {
        self.atomically(|game| {
            let place = Place::active(side);
            let creature = game.creature(place)?;
            if let Some(condition) = creature.conditions.immobilized_by() {
                return Err(RuleError::Prevented(condition));
            }
            if creature.has_effect(EffectKind::CannotRetreat, game.turn) {
                return Err(RuleError::Prevented("it cannot retreat this turn"));
            }
            if game.player(side).retreated {
                return Err(RuleError::AlreadyDone("retreating"));
            }
            let cost = game.retreat_cost(place)?;
            let attached = creature.energy.len();
            if attached < cost {
                return Err(RuleError::NotEnoughEnergy);
            }
            let question = "Choose energy to discard for retreating";
            let paid = game.prompts.pick(side, question, attached, cost..=cost)?;
            game.discard_energy(place, &paid)?;
            game.player_mut(side).retreated = true;
            game.switch_active(side, bench_position)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::card::{CreatureSpec, Element, Energy};
    use crate::engine::creature::Effect;
    use crate::engine::testing::{duel, dummy, GOLEM};

    const ME: Side = Side::First;

    static GREATER: CreatureSpec = CreatureSpec {
        stage: Stage::First,
        evolves_from: Some("golem"),
        ..dummy("greater golem", Element::Stone, 180)
    };

    #[test]
    fn evolving_keeps_damage_and_energy_but_not_conditions() {
        let mut game = duel(&GOLEM, &GOLEM);
        game.player_mut(ME).hand = vec![Card::Creature(&GREATER)];
        let place = Place::active(ME);
        game.inflict(ME, Condition::Burned).unwrap();
        game.put_damage(place, 30).unwrap();
        game.evolve(0, place).unwrap();
        let evolved = game.active(ME).unwrap();
        assert_eq!((evolved.spec, evolved.remaining_hp()), (&GREATER, 150));
        assert!(evolved.conditions.is_empty());
        assert!(game.player(ME).hand.is_empty());
    }

    #[test]
    fn a_creature_cannot_evolve_in_the_turn_it_came() {
        let mut game = duel(&GOLEM, &GOLEM);
        let cards = vec![Card::Creature(&GOLEM), Card::Creature(&GREATER)];
        game.player_mut(ME).hand = cards;
        let place = game.play_basic(ME, 0).unwrap();
        assert_eq!(game.evolve(0, place), Err(RuleError::CannotEvolve));
        assert_eq!(game.player(ME).hand.len(), 1);
        game.turn += 2;
        assert_eq!(game.evolve(0, place), Ok(()));
    }

    #[test]
    fn energy_is_attached_once_each_turn() {
        let mut game = duel(&GOLEM, &GOLEM);
        game.player_mut(ME).hand = vec![Card::Energy(Energy::Wild); 2];
        let place = Place::active(ME);
        assert_eq!(game.attach_energy(0, place), Ok(()));
        let again = game.attach_energy(0, place);
        assert_eq!(again, Err(RuleError::AlreadyDone("attaching energy")));
    }

    #[test]
    fn retreating_costs_energy_and_can_be_prevented() {
        let mut game = duel(&GOLEM, &GOLEM);
        game.player_mut(ME).bench.push(Creature::new(&GREATER, 1));
        assert_eq!(game.retreat(ME, 0), Err(RuleError::NotEnoughEnergy));
        game.active_mut(ME).unwrap().energy = vec![Energy::Wild; 3];
        let effect = Effect::next_turn(EffectKind::CannotRetreat, game.turn);
        game.add_effect(Place::active(ME), effect).unwrap();
        game.retreat(ME, 0).unwrap();
        assert_eq!(game.active(ME).unwrap().spec, &GREATER);
        assert_eq!(game.player(ME).bench[0].energy.len(), 1);
        assert!(game.player(ME).bench[0].effects.is_empty());
    }
}
