//! What is printed on a card, and which functions carry it out.

use super::combat::Hit;
use super::error::RuleError;
use super::game::{Game, Place, Side};

/// The kinds of energy and of creatures. In a cost, `Plain` is paid by energy of any kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    Flame,
    Tide,
    Root,
    Storm,
    Stone,
    Gloom,
    Plain,
}

/// An energy card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Energy {
    /// Provides one energy of its element.
    Basic(Element),
    /// Provides one energy of whichever element is needed.
    Wild,
}

impl Energy {
    /// Whether it can serve as one energy of `element`.
    pub fn provides(self, element: Element) -> bool {
        match self {
            Energy::Wild => true,
            Energy::Basic(own) => own == element || element == Element::Plain,
        }
    }
}

/// How far a creature has evolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Basic,
    First,
    Second,
}

/// Carries out an attack of `side`'s active creature: cost and conditions have been checked already.
///
/// Returns the damage done to the opponent's active creature.
pub type AttackEffect = fn(&mut Game, Side) -> Result<u32, RuleError>;

/// An attack as printed.
#[derive(Clone, Copy, Debug)]
pub struct Attack {
    pub name: &'static str,
    pub cost: &'static [Element],
    /// The printed damage; 0 where none is printed.
    pub damage: u32,
    pub text: &'static str,
    pub effect: AttackEffect,
}

/// When an ability takes effect, and the function that carries it out. The `Place` is where the ability's owner is.
#[derive(Clone, Copy, Debug)]
pub enum AbilityKind {
    /// The player uses it, once each turn ([`Game::use_ability`]), unless its owner is Asleep, Dazed or Stunned.
    Activated(fn(&mut Game, Place) -> Result<(), RuleError>),
    /// When the card is played from the hand to evolve a creature.
    OnEvolve(fn(&mut Game, Place) -> Result<(), RuleError>),
    /// Whenever an opponent's attack is about to damage *any* creature of the owner's side; returns the damage left.
    Shield(fn(&Game, Place, &Hit) -> u32),
    /// Between turns, after the conditions.
    BetweenTurns(fn(&mut Game, Place) -> Result<(), RuleError>),
    /// Whenever the owner's retreat cost is looked up; gets the printed cost, returns the actual one.
    RetreatCost(fn(&Game, Place, usize) -> usize),
}

/// An ability as printed.
#[derive(Clone, Copy, Debug)]
pub struct Ability {
    pub name: &'static str,
    pub text: &'static str,
    pub kind: AbilityKind,
}

/// A creature card.
#[derive(Clone, Copy, Debug)]
pub struct CreatureSpec {
    pub id: &'static str,
    pub name: &'static str,
    pub stage: Stage,
    pub evolves_from: Option<&'static str>,
    pub hp: u32,
    pub element: Element,
    /// Attacks of creatures of this element do twice the damage.
    pub weakness: Option<Element>,
    /// Attacks of creatures of this element do 20 less damage.
    pub resistance: Option<Element>,
    /// How many energy must be discarded to retreat.
    pub retreat_cost: usize,
    pub abilities: &'static [Ability],
    pub attacks: &'static [Attack],
}

impl PartialEq for CreatureSpec {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for CreatureSpec {}

/// An ally card: played from the hand, once each turn, then discarded.
#[derive(Clone, Copy, Debug)]
pub struct AllySpec {
    pub id: &'static str,
    pub name: &'static str,
    pub text: &'static str,
    /// Carries it out; the card itself is in no zone meanwhile.
    pub effect: fn(&mut Game, Side) -> Result<(), RuleError>,
}

impl PartialEq for AllySpec {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for AllySpec {}

/// A card in a hand, deck or discard pile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Card {
    Creature(&'static CreatureSpec),
    Ally(&'static AllySpec),
    Energy(Energy),
}

impl Card {
    /// The energy it is, if it is one.
    pub fn as_energy(self) -> Option<Energy> {
        match self {
            Card::Energy(energy) => Some(energy),
            _ => None,
        }
    }

    /// The creature it is, if it is one.
    pub fn as_creature(self) -> Option<&'static CreatureSpec> {
        match self {
            Card::Creature(spec) => Some(spec),
            _ => None,
        }
    }
}
