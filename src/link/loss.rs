//! Losses in bursts: a chain of two states after Gilbert and Elliott.

use rand::Rng;
use rand::rngs::StdRng;

/// Decides for one datagram after another whether it is lost. In the bad state all are, in the good state
/// none. The transition probabilities follow from the share lost and the mean burst length.
#[derive(Debug)]
pub(super) struct Bursts {
    bad: bool,
    /// Probability that the good state turns bad before the next datagram.
    worsen: f64,
    /// Probability that the bad state turns good.
    recover: f64,
}

impl Bursts {
    /// Creates a model that loses the share `loss` (0 to 1) in bursts of `burst` datagrams on average.
    /// Independent losses also come in bursts, 1 / (1 − loss) long on average; a shorter `burst` means
    /// independent losses.
    pub(super) fn new(loss: f64, burst: f64, rng: &mut StdRng) -> Self {
        let loss = loss.clamp(0.0, 1.0);
        if loss >= 1.0 {
            return Self { bad: true, worsen: 1.0, recover: 0.0 };
        }
        let burst = burst.max(1.0 / (1.0 - loss));
        let recover = 1.0 / burst;
        Self { bad: rng.random_bool(loss), worsen: recover * loss / (1.0 - loss), recover }
    }

    /// Returns true when the next datagram is lost.
    pub(super) fn next_is_lost(&mut self, rng: &mut StdRng) -> bool {
        let lost = self.bad;
        let change = if self.bad { self.recover } else { self.worsen };
        self.bad ^= rng.random_bool(change.clamp(0.0, 1.0));
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    /// Returns the share lost and the mean burst length over 200,000 datagrams.
    fn measure(loss: f64, burst: f64) -> (f64, f64) {
        let mut rng = StdRng::seed_from_u64(7);
        let mut bursts = Bursts::new(loss, burst, &mut rng);
        let (mut lost, mut starts, mut before) = (0.0, 0.0, false);
        for _ in 0..200_000 {
            let now = bursts.next_is_lost(&mut rng);
            lost += f64::from(u8::from(now));
            starts += f64::from(u8::from(now && !before));
            before = now;
        }
        (lost / 200_000.0, lost / starts)
    }

    #[test]
    fn the_share_and_the_burst_length_are_those_asked_for() {
        for (loss, burst) in [(0.05, 3.0), (0.2, 5.0), (0.01, 2.0), (0.5, 10.0)] {
            let (measured_loss, measured_burst) = measure(loss, burst);
            assert!((measured_loss / loss - 1.0).abs() < 0.1, "{measured_loss} instead of {loss}");
            assert!((measured_burst / burst - 1.0).abs() < 0.1, "{measured_burst} instead of {burst}");
        }
    }

    #[test]
    fn a_burst_of_one_means_independent_losses() {
        let (loss, burst) = measure(0.2, 1.0);
        assert!((loss - 0.2).abs() < 0.005, "{loss}");
        assert!((burst - 1.25).abs() < 0.02, "{burst}");
    }

    #[test]
    fn nothing_and_everything_are_exact() {
        assert_eq!(measure(0.0, 4.0).0, 0.0);
        assert_eq!(measure(1.0, 4.0).0, 1.0);
    }
}
