//! A creature in play.

use super::card::{Card, CreatureSpec, Element, Energy};
use super::condition::Conditions;

/// What a lasting effect does to the creature that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffectKind {
    /// Damage from the opponent's attacks is reduced by this much, after weakness and resistance.
    ReduceDamage(u32),
    /// All damage from the opponent's attacks is prevented.
    PreventDamage,
    /// Its attacks do this much more, before weakness and resistance.
    BoostDamage(u32),
    CannotAttack,
    CannotRetreat,
}

/// A lasting effect, in force from one turn to another (both included).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    pub kind: EffectKind,
    pub from_turn: u32,
    pub until_turn: u32,
}

impl Effect {
    /// In force during the turn after `turn`: "during your opponent's next turn", said in one's own.
    pub fn next_turn(kind: EffectKind, turn: u32) -> Self {
        Effect {
            kind,
            from_turn: turn + 1,
            until_turn: turn + 1,
        }
    }

    /// In force during the turn after the next: "during your next turn", said in one's own.
    pub fn turn_after_next(kind: EffectKind, turn: u32) -> Self {
        Effect {
            kind,
            from_turn: turn + 2,
            until_turn: turn + 2,
        }
    }

    pub fn in_force(&self, turn: u32) -> bool {
        (self.from_turn..=self.until_turn).contains(&turn)
    }
}

/// A creature in play, with everything on it.
#[derive(Clone, Debug)]
pub struct Creature {
    pub spec: &'static CreatureSpec,
    /// The cards it evolved from, lowest stage first.
    pub evolved_from: Vec<&'static CreatureSpec>,
    /// Damage taken so far, in steps of 10.
    pub damage: u32,
    pub energy: Vec<Energy>,
    pub conditions: Conditions,
    pub effects: Vec<Effect>,
    /// The turn in which it came into play or last evolved.
    pub since_turn: u32,
    /// The turn in which its activated ability was last used.
    pub ability_used: Option<u32>,
}

impl Creature {
    /// An unharmed creature that came into play in turn `since_turn`.
    pub fn new(spec: &'static CreatureSpec, since_turn: u32) -> Self {
        Creature {
            spec,
            evolved_from: Vec::new(),
            damage: 0,
            energy: Vec::new(),
            conditions: Conditions::default(),
            effects: Vec::new(),
            since_turn,
            ability_used: None,
        }
    }

    pub fn remaining_hp(&self) -> u32 {
        self.spec.hp.saturating_sub(self.damage)
    }

    pub fn is_knocked_out(&self) -> bool {
        self.remaining_hp() == 0
    }

    /// How many of its energy can serve as `element` (Wild energy can always).
    pub fn energy_for(&self, element: Element) -> usize {
        let serving = self.energy.iter().filter(|e| e.provides(element));
        serving.count()
    }

    /// Whether its energy covers `cost`; each energy pays for one symbol.
    pub fn can_pay(&self, cost: &[Element]) -> bool {
        let wild = self.energy.iter().filter(|e| **e == Energy::Wild).count();
        let mut missing = 0;
        for (i, element) in cost.iter().enumerate() {
            if *element == Element::Plain || cost[..i].contains(element) {
                continue;
            }
            let needed = cost.iter().filter(|c| *c == element).count();
            missing += needed.saturating_sub(self.energy_for(*element) - wild);
        }
        missing <= wild && cost.len() <= self.energy.len()
    }

    /// The lasting effects in force in `turn`.
    pub fn effects_in(&self, turn: u32) -> impl Iterator<Item = EffectKind> + '_ {
        let active = self.effects.iter().filter(move |e| e.in_force(turn));
        active.map(|e| e.kind)
    }

    pub fn has_effect(&self, kind: EffectKind, turn: u32) -> bool {
        self.effects_in(turn).any(|e| e == kind)
    }

    /// Ends all conditions and lasting effects, as evolving and moving to the bench do.
    pub fn shake_off(&mut self) {
        self.conditions.clear();
        self.effects.clear();
    }

    /// The cards it consists of: its own, those it evolved from, and its energy.
    pub fn cards(&self) -> Vec<Card> {
        let stages = self.evolved_from.iter().chain([&self.spec]);
        let energy = self.energy.iter().map(|e| Card::Energy(*e));
        stages.map(|s| Card::Creature(s)).chain(energy).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::GOLEM;
    use Element::{Flame, Plain, Tide};

    fn with_energy(energy: &[Energy]) -> Creature {
        let mut creature = Creature::new(&GOLEM, 1);
        creature.energy = energy.to_vec();
        creature
    }

    #[test]
    fn plain_symbols_are_paid_by_anything() {
        let creature = with_energy(&[Energy::Basic(Flame), Energy::Basic(Tide)]);
        assert!(creature.can_pay(&[Plain, Plain]));
        assert!(creature.can_pay(&[Tide, Plain]));
        assert!(!creature.can_pay(&[Tide, Tide]));
        assert!(!creature.can_pay(&[Plain, Plain, Plain]));
    }

    #[test]
    fn a_wild_energy_pays_for_one_symbol_only() {
        let creature = with_energy(&[Energy::Wild, Energy::Basic(Flame)]);
        assert!(creature.can_pay(&[Tide, Flame]));
        assert!(creature.can_pay(&[Flame, Flame]));
        assert!(!creature.can_pay(&[Tide, Tide]));
    }

    #[test]
    fn an_effect_is_in_force_in_its_turn_only() {
        let effect = Effect::next_turn(EffectKind::CannotAttack, 4);
        let in_force: Vec<u32> = (3..8).filter(|t| effect.in_force(*t)).collect();
        assert_eq!(in_force, [5]);
    }
}
