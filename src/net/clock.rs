//! The one clock of the process.

use std::time::{Duration, Instant, SystemTime};

use crate::base::{Now, Timestamp};

/// Reads monotonic and wall time. Copies share the origin, so their timestamps are comparable.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// Creates a clock whose monotonic time begins now.
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }

    /// Returns both times. Wall time is the system's, and runs backwards if an operator sets it back.
    pub fn now(&self) -> Now {
        Now { mono: self.mono(), wall: SystemTime::now().into() }
    }

    /// Returns the monotonic time.
    pub fn mono(&self) -> Timestamp {
        let micros = self.origin.elapsed().as_micros();
        Timestamp::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// Returns the instant of `at`, for a timer.
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
