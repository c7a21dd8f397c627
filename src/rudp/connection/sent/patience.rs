//! [`Patience`]: how much later than a newer packet one may arrive before it counts as lost.

use std::time::Duration;

/// The reordering window of a path. It grows while packets that seemed lost arrive after all. Spec: REL-4.
#[derive(Debug)]
pub struct Patience {
    /// Factor of the window, doubled by each spurious loss.
    factor: u32,
    /// Losses since the last that proved spurious.
    losses: u32,
}

const MIN_WINDOW: Duration = Duration::from_millis(1);
const MAX_FACTOR: u32 = 8;
/// After this many losses without a spurious one the window is halved again.
const LOSSES_UNTIL_IMPATIENT: u32 = 16;

impl Default for Patience {
    /// The patience on a path of which nothing is known.
    fn default() -> Self {
        Self { factor: 1, losses: 0 }
    }
}

impl Patience {
    /// Returns the window where a round trip takes `smoothed`.
    pub fn window(&self, smoothed: Duration) -> Duration {
        (smoothed / 8).max(MIN_WINDOW) * self.factor
    }

    /// Counts a loss, to be followed by [`Self::settle`].
    pub fn on_loss(&mut self) {
        self.losses += 1;
    }

    /// Notes that a packet declared lost has arrived after all.
    pub fn on_spurious(&mut self) {
        self.factor = (self.factor * 2).min(MAX_FACTOR);
        self.losses = 0;
    }

    /// Halves the window if enough losses were counted.
    pub fn settle(&mut self) {
        if self.losses >= LOSSES_UNTIL_IMPATIENT {
            self.losses = 0;
            self.factor = (self.factor / 2).max(1);
        }
    }
}
