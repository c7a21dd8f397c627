//! The one clock of the process.

use std::time::{Duration, Instant, SystemTime};

use crate::base::{Now, Timestamp};

/// Reads monotonic and wall time. Copies share the origin, so their timestamps can be compared.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock whose monotonic time begins now.
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }

    /// Both times. Wall time is what the system says, and runs backwards when an operator sets it so.
    pub fn now(&self) -> Now {
        Now { mono: self.mono(), wall: SystemTime::now().into() }
    }

    /// Monotonic time.
    pub fn mono(&self) -> Timestamp {
        let micros = self.origin.elapsed().as_micros();
        Timestamp::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// The instant of `at`, for a timer.
    pub(super) fn instant(&self, at: Timestamp) -> Option<Instant> {
        self.origin.checked_add(Duration::from_micros(at.as_micros()))
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_time_and_instants_have_one_origin() {
        let clock = Clock::new();
        let at = Timestamp::from_millis(7);
        assert_eq!(clock.instant(at), clock.origin.checked_add(Duration::from_millis(7)));
    }
}
