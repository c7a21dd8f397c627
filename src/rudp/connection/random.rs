//! [`Randomness`]: a connection's source of random draws.

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

/// The seed of the next draw. A connection draws rarely, and a generator is ten times as large.
pub struct Randomness([u8; 32]);

impl Randomness {
    /// Takes the seed from `rng`.
    pub fn new(mut rng: StdRng) -> Self {
        let mut seed = [0; 32];
        rng.fill_bytes(&mut seed);
        Self(seed)
    }

    /// Draws a value. The seed is replaced first, so that no draw reveals an earlier one.
    pub fn draw<T>(&mut self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        let mut rng = StdRng::from_seed(self.0);
        rng.fill_bytes(&mut self.0);
        draw(&mut rng)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn draws_differ_and_follow_from_the_seed_alone() {
        let draws = |seed| {
            let mut random = Randomness::new(StdRng::seed_from_u64(seed));
            [(); 3].map(|()| random.draw(|rng| rng.random::<u64>()))
        };
        let first = draws(1);
        assert_eq!(first, draws(1));
        assert!(first[0] != first[1] && first[1] != first[2] && first != draws(2));
    }
}
