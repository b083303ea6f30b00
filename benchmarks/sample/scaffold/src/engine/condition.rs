//! Conditions of an active creature.

/// A condition. Asleep, Dazed and Stunned replace one another; Poisoned and Burned stand beside everything.
///
/// - **Asleep**: cannot attack, retreat or use activated abilities. Between turns a coin is flipped; heads ends it.
/// - **Dazed**: before it attacks a coin is flipped; on tails the attack fails and the creature takes 30 damage.
/// - **Stunned**: as Asleep, but it ends at the end of its owner's turn.
/// - **Poisoned**: 10 damage between turns.
/// - **Burned**: 20 damage between turns, then a coin is flipped; heads ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Asleep,
    Dazed,
    Stunned,
    Poisoned,
    Burned,
}

impl Condition {
    /// Whether it is one of those of which a creature has at most one.
    pub fn is_exclusive(self) -> bool {
        matches!(self, Condition::Asleep | Condition::Dazed | Condition::Stunned)
    }
}

/// The conditions that affect one creature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions(Vec<Condition>);

impl Conditions {
    /// Adds a condition, replacing an exclusive one by another; adding one twice is the same as once.
    pub fn add(&mut self, condition: Condition) {
        self.0
            .retain(|&old| old != condition && !(old.is_exclusive() && condition.is_exclusive()));
        self.0.push(condition);
    }

    /// Ends a condition; returns whether it was there.
    pub fn remove(&mut self, condition: Condition) -> bool {
        let before = self.0.len();
        self.0.retain(|&old| old != condition);
        self.0.len() < before
    }

    pub fn has(&self, condition: Condition) -> bool {
        self.0.contains(&condition)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many conditions there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Ends all of them.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The condition that keeps the creature from acting, if any.
    pub fn immobilized_by(&self) -> Option<&'static str> {
        if self.has(Condition::Asleep) {
            Some("Asleep")
        } else if self.has(Condition::Stunned) {
            Some("Stunned")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exclusive_conditions_replace_one_another() {
        let mut conditions = Conditions::default();
        conditions.add(Condition::Asleep);
        conditions.add(Condition::Burned);
        conditions.add(Condition::Dazed);
        assert!(!conditions.has(Condition::Asleep));
        assert!(conditions.has(Condition::Burned) && conditions.has(Condition::Dazed));
    }

    #[test]
    fn a_condition_is_counted_once() {
        let mut conditions = Conditions::default();
        conditions.add(Condition::Poisoned);
        conditions.add(Condition::Poisoned);
        assert_eq!(conditions.count(), 1);
        assert!(conditions.remove(Condition::Poisoned));
        assert!(!conditions.remove(Condition::Poisoned));
    }
}
