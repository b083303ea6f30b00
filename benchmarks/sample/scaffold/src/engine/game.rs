//! The whole state of a game, and its zones.

use super::card::{Card, Energy};
use super::condition::Condition;
use super::creature::{Creature, Effect};
use super::error::RuleError;
use super::prompt::Prompts;
use super::rng::{Coin, Rng};

/// A bench holds at most this many creatures.
pub const BENCH_SIZE: usize = 5;
/// Knocking out this many creatures wins the game.
pub const TROPHIES_TO_WIN: u32 = 6;

/// One of the two players.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    First,
    Second,
}

impl Side {
    /// The opponent.
    pub fn other(self) -> Side {
        match self {
            Side::First => Side::Second,
            Side::Second => Side::First,
        }
    }
}

/// Where on a player's side a creature is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    Active,
    /// A position on the bench, from 0.
    Bench(usize),
}

/// Where a creature is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub side: Side,
    pub spot: Spot,
}

impl Place {
    pub fn active(side: Side) -> Self {
        let spot = Spot::Active;
        Place { side, spot }
    }

    pub fn bench(side: Side, position: usize) -> Self {
        let spot = Spot::Bench(position);
        Place { side, spot }
    }

    pub fn is_bench(self) -> bool {
        matches!(self.spot, Spot::Bench(_))
    }
}

/// Everything that belongs to one player.
#[derive(Clone, Debug, Default)]
pub struct Player {
    pub active: Option<Creature>,
    pub bench: Vec<Creature>,
    pub hand: Vec<Card>,
    /// The last card is the top one.
    pub deck: Vec<Card>,
    /// The last card is the one discarded last.
    pub discard: Vec<Card>,
    /// How many of the opponent's creatures were knocked out.
    pub trophies: u32,
    pub energy_attached: bool,
    pub ally_played: bool,
    pub retreated: bool,
}

/// A game in progress.
#[derive(Clone, Debug)]
pub struct Game {
    players: [Player; 2],
    /// The number of the turn, from 1.
    pub turn: u32,
    /// Whose turn it is.
    pub current: Side,
    pub prompts: Prompts,
    pub(super) rng: Rng,
    flips: Vec<Coin>,
}

impl Game {
    /// An empty table before turn 1 of `Side::First`; `seed` determines all flips and shuffles.
    pub fn new(seed: u64) -> Self {
        Game {
            players: Default::default(),
            turn: 1,
            current: Side::First,
            prompts: Prompts::default(),
            rng: Rng::new(seed),
            flips: Vec::new(),
        }
    }

    pub fn player(&self, side: Side) -> &Player {
        &self.players[side as usize]
    }

    pub fn player_mut(&mut self, side: Side) -> &mut Player {
        &mut self.players[side as usize]
    }

    /// The creature in a place; `NobodyThere` if there is none.
    pub fn creature(&self, place: Place) -> Result<&Creature, RuleError> {
        let player = self.player(place.side);
        let found = match place.spot {
            Spot::Active => player.active.as_ref(),
            Spot::Bench(position) => player.bench.get(position),
        };
        found.ok_or(RuleError::NobodyThere)
    }

    /// As [`Game::creature`], to change it.
    pub fn creature_mut(&mut self, place: Place) -> Result<&mut Creature, RuleError> {
        let player = self.player_mut(place.side);
        let found = match place.spot {
            Spot::Active => player.active.as_mut(),
            Spot::Bench(position) => player.bench.get_mut(position),
        };
        found.ok_or(RuleError::NobodyThere)
    }

    /// The active creature of `side`.
    pub fn active(&self, side: Side) -> Result<&Creature, RuleError> {
        self.creature(Place::active(side))
    }

    /// The active creature of `side`, to change it.
    pub fn active_mut(&mut self, side: Side) -> Result<&mut Creature, RuleError> {
        self.creature_mut(Place::active(side))
    }

    /// Where `side` has benched creatures, in order.
    pub fn bench_places(&self, side: Side) -> Vec<Place> {
        let positions = 0..self.player(side).bench.len();
        positions.map(|i| Place::bench(side, i)).collect()
    }

    /// Where `side` has creatures: the active one first, then the bench in order.
    pub fn places(&self, side: Side) -> Vec<Place> {
        let active = self.player(side).active.as_ref();
        let mut places: Vec<Place> = active.map(|_| Place::active(side)).into_iter().collect();
        places.extend(self.bench_places(side));
        places
    }

    /// Flips a coin.
    pub fn flip(&mut self) -> Coin {
        let coin = self.rng.flip();
        self.flips.push(coin);
        coin
    }

    /// Flips `count` coins; returns how many came up heads.
    pub fn count_heads(&mut self, count: usize) -> usize {
        (0..count).filter(|_| self.flip() == Coin::Heads).count()
    }

    /// Every coin flipped so far, oldest first.
    pub fn flips(&self) -> &[Coin] {
        &self.flips
    }

    /// Moves up to `count` cards from the top of the deck to the hand; returns how many there were.
    pub fn draw(&mut self, side: Side, count: usize) -> usize {
        let player = self.player_mut(side);
        let drawn = count.min(player.deck.len());
        for _ in 0..drawn {
            player.hand.extend(player.deck.pop());
        }
        drawn
    }

    pub fn shuffle_deck(&mut self, side: Side) {
        let deck = &mut self.players[side as usize].deck;
        self.rng.shuffle(deck);
    }

    /// Moves the cards at these positions of the hand to the discard pile, in the order given.
    ///
    /// # Errors
    /// `NoSuchCard` if a position is beyond the hand or named twice; the hand is then unchanged.
    pub fn discard_from_hand(&mut self, side: Side, positions: &[usize]) -> Result<(), RuleError> {
        let player = self.player_mut(side);
        let moved = take(&mut player.hand, positions)?;
        player.discard.extend(moved);
        Ok(())
    }

    /// Moves the energy at these positions from a creature to its owner's discard pile; returns it, in the order
    /// given.
    ///
    /// # Errors
    /// `NobodyThere`; `NoSuchCard` if a position is beyond the energy attached or named twice.
    pub fn discard_energy(&mut self, place: Place, positions: &[usize]) -> Result<Vec<Energy>, RuleError> {
        let moved = take(&mut self.creature_mut(place)?.energy, positions)?;
        let discard = &mut self.player_mut(place.side).discard;
        discard.extend(moved.iter().map(|e| Card::Energy(*e)));
        Ok(moved)
    }

    /// Exchanges the active creature with a benched one, which takes its place; the one benched shakes off
    /// conditions and effects.
    pub fn switch_active(&mut self, side: Side, position: usize) -> Result<(), RuleError> {
        let player = self.player_mut(side);
        let active = player.active.as_mut().ok_or(RuleError::NobodyThere)?;
        let benched = player.bench.get_mut(position).ok_or(RuleError::NobodyThere)?;
        active.shake_off();
        core::mem::swap(active, benched);
        Ok(())
    }

    /// Gives the active creature of `side` a condition.
    pub fn inflict(&mut self, side: Side, condition: Condition) -> Result<(), RuleError> {
        self.active_mut(side)?.conditions.add(condition);
        Ok(())
    }

    /// Gives the creature in `place` a lasting effect.
    pub fn add_effect(&mut self, place: Place, effect: Effect) -> Result<(), RuleError> {
        self.creature_mut(place)?.effects.push(effect);
        Ok(())
    }

    /// Who has won: by trophies, or because the opponent has no creature left in play.
    pub fn winner(&self) -> Option<Side> {
        let won = |side: &Side| self.player(*side).trophies >= TROPHIES_TO_WIN || self.places(side.other()).is_empty();
        [Side::First, Side::Second].into_iter().find(won)
    }

    /// Runs a move; if it fails, everything is as before.
    pub(super) fn atomically<T>(
        &mut self,
        run: impl FnOnce(&mut Game) -> Result<T, RuleError>,
    ) -> Result<T, RuleError> {
        let before = self.clone();
        let outcome = run(self);
        if outcome.is_err() {
            *self = before;
        }
        outcome
    }
}

/// Takes the items at `positions` out of `items`, in the order of `positions`.
///
/// # Errors
/// `NoSuchCard` if a position is beyond the end or named twice; `items` is then unchanged.
pub fn take<T: Copy>(items: &mut Vec<T>, positions: &[usize]) -> Result<Vec<T>, RuleError> {
    let twice = (1..positions.len()).any(|i| positions[..i].contains(&positions[i]));
    if twice || positions.iter().any(|&i| i >= items.len()) {
        return Err(RuleError::NoSuchCard);
    }
    let taken = positions.iter().map(|&i| items[i]).collect();
    let mut position = 0;
    items.retain(|_| {
        position += 1;
        !positions.contains(&(position - 1))
    });
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::card::Element;
    use crate::engine::testing::{duel, GOLEM};

    #[test]
    fn take_keeps_the_order_asked_for() {
        let mut items = vec!['a', 'b', 'c', 'd'];
        assert_eq!(take(&mut items, &[2, 0]), Ok(vec!['c', 'a']));
        assert_eq!(items, ['b', 'd']);
        assert_eq!(take(&mut items, &[2]), Err(RuleError::NoSuchCard));
        assert_eq!(take(&mut items, &[1, 1]), Err(RuleError::NoSuchCard));
        assert_eq!(items, ['b', 'd']);
    }

    #[test]
    fn drawing_stops_at_the_end_of_the_deck() {
        let mut game = Game::new(0);
        game.player_mut(Side::First).deck = vec![Card::Energy(Energy::Wild); 2];
        assert_eq!(game.draw(Side::First, 3), 2);
        assert_eq!(game.player(Side::First).hand.len(), 2);
    }

    #[test]
    fn switching_shakes_off_conditions_but_keeps_damage() {
        let mut game = duel(&GOLEM, &GOLEM);
        let benched = Creature::new(&GOLEM, 1);
        game.player_mut(Side::First).bench.push(benched);
        game.inflict(Side::First, Condition::Poisoned).unwrap();
        game.active_mut(Side::First).unwrap().damage = 50;
        game.switch_active(Side::First, 0).unwrap();
        let benched = &game.player(Side::First).bench[0];
        assert!(benched.conditions.is_empty());
        assert_eq!(benched.damage, 50);
        assert_eq!(game.active(Side::First).unwrap().damage, 0);
    }

    #[test]
    fn discarded_energy_goes_to_its_owner() {
        let mut game = duel(&GOLEM, &GOLEM);
        let place = Place::active(Side::Second);
        let energy = vec![Energy::Basic(Element::Flame), Energy::Wild];
        game.creature_mut(place).unwrap().energy = energy;
        game.discard_energy(place, &[1]).unwrap();
        let discard = &game.player(Side::Second).discard;
        assert_eq!(discard, &[Card::Energy(Energy::Wild)]);
    }
}
