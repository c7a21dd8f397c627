//! The one clock of the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::base::{Now, Timestamp, UnixTime};

/// Reads monotonic and wall time. Clones share the origin, so their timestamps can be compared.
#[derive(Debug, Clone)]
pub struct Clock {
    origin: Instant,
    /// Latest wall time given out, in milliseconds.
    wall: Arc<AtomicU64>,
}

impl Clock {
    /// A clock whose monotonic time begins now.
    pub fn new() -> Self {
        Self { origin: Instant::now(), wall: Arc::new(AtomicU64::new(0)) }
    }

    /// Both times. Wall time never runs backwards, so that a token that has expired stays expired
    /// when an operator sets the clock.
    pub fn now(&self) -> Now {
        Now { mono: self.monotonic(), wall: self.latest(SystemTime::now().into()) }
    }

    /// The instant of `at`, for a timer.
    pub(super) fn instant(&self, at: Timestamp) -> Option<Instant> {
        self.origin.checked_add(Duration::from_micros(at.as_micros()))
    }

    fn monotonic(&self) -> Timestamp {
        let micros = self.origin.elapsed().as_micros();
        Timestamp::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    fn latest(&self, now: UnixTime) -> UnixTime {
        let before = self.wall.fetch_max(now.as_millis(), Ordering::Relaxed);
        UnixTime::from_millis(before.max(now.as_millis()))
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
    fn wall_time_never_runs_backwards_for_any_clone() {
        let clock = Clock::new();
        let other = clock.clone();
        let at = UnixTime::from_millis;
        assert_eq!(clock.latest(at(5_000)), at(5_000));
        assert_eq!(other.latest(at(4_000)), at(5_000));
        assert_eq!(clock.latest(at(5_001)), at(5_001));
    }

    #[test]
    fn monotonic_time_and_instants_have_one_origin() {
        let clock = Clock::new();
        let at = Timestamp::from_millis(7);
        assert_eq!(clock.instant(at), clock.origin.checked_add(Duration::from_millis(7)));
        assert!(clock.now().mono >= Timestamp::ZERO);
    }
}
