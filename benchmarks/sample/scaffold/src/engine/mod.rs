//! The rules of the game, independent of any particular card.
//!
//! - [`card`]: what is printed on a card.
//! - [`creature`], [`condition`]: a creature in play, and what may ail it.
//! - [`game`]: the whole state and its zones.
//! - [`actions`], [`combat`], [`turn`]: what a player may do, attacks and damage, what happens between turns.
//! - [`prompt`]: choices asked of a player. [`rng`]: the seeded source of coin flips and shuffles.
//! - [`error`]: broken rules. `testing`: fixtures for tests.

pub mod actions;
pub mod card;
pub mod combat;
pub mod condition;
pub mod creature;
pub mod error;
pub mod game;
pub mod prompt;
pub mod rng;
#[cfg(test)]
pub mod testing;
pub mod turn;

pub use card::{Ability, AbilityKind, AllySpec, Attack, Card, CreatureSpec, Element, Energy, Stage};
pub use combat::{Hit, Strike};
pub use condition::{Condition, Conditions};
pub use creature::{Creature, Effect, EffectKind};
pub use error::RuleError;
pub use game::{Game, Place, Player, Side, Spot};
pub use prompt::{Answer, Asked, Prompts};
pub use rng::{Coin, Rng};
