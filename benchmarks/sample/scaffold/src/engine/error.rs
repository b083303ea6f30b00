//! What can be wrong with a move.

use core::fmt;

/// Why a move is illegal. A move that returns one through [`Game`](super::Game)'s actions has changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// It is the other player's turn.
    NotYourTurn,
    /// The named place holds no creature.
    NobodyThere,
    /// There is no such card in that zone, or it is of the wrong kind.
    NoSuchCard,
    /// The creature has no such attack or ability.
    NoSuchMove,
    /// The energy attached does not cover the cost.
    NotEnoughEnergy,
    /// A condition or an effect forbids it; the text names it.
    Prevented(&'static str),
    /// It may be done once each turn, and was.
    AlreadyDone(&'static str),
    /// The bench is full.
    BenchFull,
    /// The card does not evolve from that creature, or not yet.
    CannotEvolve,
    /// The answer given to a prompt is none of the choices offered.
    BadAnswer(&'static str),
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RuleError::NotYourTurn => write!(f, "it is the other player's turn"),
            RuleError::NobodyThere => write!(f, "there is no creature in that place"),
            RuleError::NoSuchCard => write!(f, "there is no such card there"),
            RuleError::NoSuchMove => write!(f, "the creature has no such attack or ability"),
            RuleError::NotEnoughEnergy => write!(f, "the attached energy does not cover the cost"),
            RuleError::Prevented(by) => write!(f, "prevented: {by}"),
            RuleError::AlreadyDone(what) => write!(f, "already done this turn: {what}"),
            RuleError::BenchFull => write!(f, "the bench is full"),
            RuleError::CannotEvolve => write!(f, "that creature cannot evolve into this card now"),
            RuleError::BadAnswer(question) => write!(f, "not a valid answer to: {question}"),
        }
    }
}

impl std::error::Error for RuleError {}
