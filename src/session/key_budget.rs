//! [`KeyBudget`]: how fast new keys may come.

use std::collections::HashSet;
use std::hash::Hash;

use crate::base::{Timestamp, TokenBucket};

/// How fast new keys may come, and which are new. Values of one key replace each other while they wait for a
/// member; those of ever new keys would all wait. Spec: LIM-4.
#[derive(Debug, Clone)]
pub struct KeyBudget<K> {
    new: TokenBucket,
    /// At least the last [`KEYS_AT_ONCE`] that were used, or all: the latest of them, and those before.
    latest: HashSet<K>,
    earlier: HashSet<K>,
}

/// Keys that may be used without any of them being a new one. Three times as many, those that were used last
/// and as many new ones, may come at once and be under way to a member: fewer than it has numbers for.
const KEYS_AT_ONCE: usize = 1_024;

impl<K: Hash + Eq> KeyBudget<K> {
    /// A full budget: as many at once as are in use without being new, then so many a second.
    pub fn new(now: Timestamp, per_second: u64) -> Self {
        let new = TokenBucket::new(now, per_second, per_second.max(KEYS_AT_ONCE as u64));
        Self { new, latest: HashSet::new(), earlier: HashSet::new() }
    }

    /// Uses a key; false when too many new ones come too soon.
    pub fn take(&mut self, now: Timestamp, key: K) -> bool {
        if self.latest.contains(&key) {
            return true;
        }
        if !self.earlier.contains(&key) && !self.new.take(now, 1) {
            return false;
        }
        if self.latest.len() >= KEYS_AT_ONCE {
            self.earlier = std::mem::take(&mut self.latest);
        }
        self.latest.insert(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec-test: LIM-4
    #[test]
    fn new_keys_have_a_budget_and_those_in_use_are_free() {
        let mut budget = KeyBudget::new(Timestamp::ZERO, 64);
        let in_use = |budget: &mut KeyBudget<_>, now| (0..900).all(|key| budget.take(now, (1, key)));
        assert!(in_use(&mut budget, Timestamp::ZERO) && in_use(&mut budget, Timestamp::ZERO));
        let mut next = 900..;
        let mut more = |budget: &mut KeyBudget<_>, now| {
            next.by_ref().take_while(|key| budget.take(now, (1, *key))).count()
        };
        assert_eq!(more(&mut budget, Timestamp::ZERO), 124);
        assert!(in_use(&mut budget, Timestamp::ZERO), "those that it used before");
        assert!(!budget.take(Timestamp::ZERO, (2, 0)), "in another place it is another");
        assert_eq!(more(&mut budget, Timestamp::from_millis(1_000)), 64);
        assert!(in_use(&mut budget, Timestamp::from_millis(1_000)));
        assert_eq!(more(&mut budget, Timestamp::from_millis(1_500)), 32);
        assert!(budget.latest.len() + budget.earlier.len() <= 2 * KEYS_AT_ONCE);
    }
}
