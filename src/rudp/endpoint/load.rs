//! Counts per second, for rate limits and to detect load.

use crate::base::Timestamp;

/// Counts events in whole seconds.
#[derive(Debug, Default)]
pub(super) struct PerSecond {
    second: u64,
    count: u32,
    before: u32,
}

impl PerSecond {
    /// Counts one event. Returns true while the second's count is at most `limit`.
    pub(super) fn take(&mut self, now: Timestamp, limit: u32) -> bool {
        self.turn(now);
        if self.count >= limit {
            return false;
        }
        self.count += 1;
        true
    }

    /// Counts one event. Returns the larger count of this second and the one before.
    pub(super) fn count(&mut self, now: Timestamp) -> u32 {
        self.turn(now);
        self.count = self.count.saturating_add(1);
        self.count.max(self.before)
    }

    fn turn(&mut self, now: Timestamp) {
        let second = now.as_micros() / 1_000_000;
        if second > self.second {
            self.before = if second == self.second + 1 { self.count } else { 0 };
            self.count = 0;
            self.second = second;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_holds_within_a_second() {
        let mut rejects = PerSecond::default();
        let at = Timestamp::from_millis;
        assert!(rejects.take(at(0), 2) && rejects.take(at(999), 2));
        assert!(!rejects.take(at(999), 2));
        assert!(rejects.take(at(1_000), 2));
        assert!(!rejects.take(at(1_000), 0));
    }

    #[test]
    fn the_load_of_the_second_before_counts() {
        let mut hellos = PerSecond::default();
        let at = Timestamp::from_millis;
        assert_eq!([0, 1, 2].map(|millis| hellos.count(at(millis))), [1, 2, 3]);
        assert_eq!(hellos.count(at(1_000)), 3);
        assert_eq!(hellos.count(at(2_000)), 1);
        assert_eq!(hellos.count(at(9_000)), 1);
    }
}
