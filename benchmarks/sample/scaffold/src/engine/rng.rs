//! The seeded source of all chance: the same seed gives the same game.

/// The outcome of a coin flip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coin {
    Heads,
    Tails,
}

/// A permuted congruential generator (PCG-XSH-RR, 64 bits of state, 32 of output; M. O'Neill, 2014).
#[derive(Clone, Debug)]
pub struct Rng {
    state: u64,
}

const MULTIPLIER: u64 = 6_364_136_223_846_793_005;
const INCREMENT: u64 = 1_442_695_040_888_963_407;

impl Rng {
    /// A generator whose whole output is determined by `seed`.
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng {
            state: seed.wrapping_add(INCREMENT),
        };
        rng.next_u32();
        rng
    }

    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        let old = self.state;
        self.state = old.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
        let shifted = (((old >> 18) ^ old) >> 27) as u32;
        shifted.rotate_right((old >> 59) as u32)
    }

    /// A number in `0..bound`, without the bias of a plain remainder.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        assert!(bound > 0, "there is no number below 0");
        let unfair = u32::MAX - u32::MAX % bound;
        loop {
            let drawn = self.next_u32();
            if drawn < unfair {
                return drawn % bound;
            }
        }
    }

    /// Flips a fair coin.
    pub fn flip(&mut self) -> Coin {
        if self.below(2) == 0 {
            Coin::Heads
        } else {
            Coin::Tails
        }
    }

    /// Puts `items` into random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.below(last as u32 + 1) as usize;
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_flips() {
        let mut one = Rng::new(7);
        let mut two = Rng::new(7);
        for _ in 0..100 {
            assert_eq!(one.flip(), two.flip());
        }
    }

    #[test]
    fn a_coin_is_fair_enough() {
        let mut rng = Rng::new(1);
        let heads = (0..10_000).filter(|_| rng.flip() == Coin::Heads).count();
        assert!((4_800..5_200).contains(&heads), "{heads} heads in 10000");
    }

    #[test]
    fn a_shuffle_keeps_every_item() {
        let mut items: Vec<u32> = (0..20).collect();
        Rng::new(3).shuffle(&mut items);
        assert_ne!(items, (0..20).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..20).collect::<Vec<_>>());
    }
}
