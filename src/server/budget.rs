//! How fast one connection may act. Refusing here, at ingress, keeps a flooder from the members of
//! its sessions.

use std::collections::HashSet;

use super::limits::Limits;
use crate::base::{Slot, Timestamp, TokenBucket};

/// Bytes of the largest command: a full payload and what stands before it, or a session's full
/// properties. What a server takes as a message, and what always fits a full budget.
pub const MAX_COMMAND_BYTES: usize = 128 << 10;

/// What one connection may send to the application layer. Spec: LIM-2, LIM-4.
#[derive(Debug)]
pub struct Budget {
    commands: TokenBucket,
    bytes: TokenBucket,
    /// Nothing until a message has a key.
    keys: Option<Box<Keys>>,
    keys_per_second: u64,
}

/// The rates of a [`Budget`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Commands a second.
    pub commands_per_second: u64,
    /// Bytes of commands a second.
    pub bytes_per_second: u64,
    /// Keys a second that were not used lately.
    pub keys_per_second: u64,
}

/// The keys that a connection uses. Values of one key replace each other while they wait for a member;
/// those of ever new keys would all wait.
#[derive(Debug)]
struct Keys {
    new: TokenBucket,
    /// At least the last [`KEYS_AT_ONCE`] that were used, or all: the latest of them, and those before.
    latest: HashSet<(Slot, u16)>,
    earlier: HashSet<(Slot, u16)>,
}

/// Keys that a connection may use without any of them being a new one.
const KEYS_AT_ONCE: usize = 1_024;

impl From<&Limits> for Rates {
    fn from(limits: &Limits) -> Self {
        Self {
            commands_per_second: limits.commands_per_second,
            bytes_per_second: limits.command_bytes_per_second,
            keys_per_second: limits.new_keys_per_second,
        }
    }
}

impl Budget {
    /// A full budget.
    pub fn new(now: Timestamp, rates: &Rates) -> Self {
        Self {
            commands: TokenBucket::new(now, rates.commands_per_second, rates.commands_per_second),
            bytes: TokenBucket::of_bytes(now, rates.bytes_per_second, MAX_COMMAND_BYTES as u64),
            keys: None,
            keys_per_second: rates.keys_per_second,
        }
    }

    /// Takes one command of `bytes`; false when it comes too soon. A refused command costs a
    /// command, not its bytes: a flooder of large ones is not starved of small ones.
    pub fn take(&mut self, now: Timestamp, bytes: usize) -> bool {
        self.commands.take(now, 1) && self.bytes.take(now, bytes as u64)
    }

    /// Takes a message with this key to the session of `slot`; false when too many new keys come too soon.
    pub fn take_key(&mut self, now: Timestamp, slot: Slot, key: u16) -> bool {
        let rate = self.keys_per_second;
        self.keys.get_or_insert_with(|| Box::new(Keys::new(now, rate))).take(now, (slot, key))
    }
}

impl Keys {
    fn new(now: Timestamp, per_second: u64) -> Self {
        let new = TokenBucket::new(now, per_second, per_second.max(KEYS_AT_ONCE as u64));
        Self { new, latest: HashSet::new(), earlier: HashSet::new() }
    }

    fn take(&mut self, now: Timestamp, key: (Slot, u16)) -> bool {
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

    #[test]
    fn a_command_of_the_largest_size_passes_a_full_budget() {
        let rates = Rates { commands_per_second: 5, bytes_per_second: 10, keys_per_second: 1 };
        let mut budget = Budget::new(Timestamp::ZERO, &rates);
        assert!(budget.take(Timestamp::ZERO, MAX_COMMAND_BYTES));
        assert!(!budget.take(Timestamp::ZERO, 1), "the bytes are gone");
        assert!(budget.take(Timestamp::from_millis(500), 5));
        assert!(!budget.take(Timestamp::from_millis(500), 1));
    }

    // spec-test: LIM-4
    #[test]
    fn new_keys_have_a_budget_and_those_in_use_are_free() {
        let rates = Rates { commands_per_second: 1, bytes_per_second: 1, keys_per_second: 64 };
        let mut budget = Budget::new(Timestamp::ZERO, &rates);
        let in_use = |budget: &mut Budget, now| (0..900).all(|key| budget.take_key(now, Slot(1), key));
        assert!(in_use(&mut budget, Timestamp::ZERO) && in_use(&mut budget, Timestamp::ZERO));
        let mut next = 900..;
        let mut more = |budget: &mut Budget, now| {
            next.by_ref().take_while(|key| budget.take_key(now, Slot(1), *key)).count()
        };
        assert_eq!(more(&mut budget, Timestamp::ZERO), 124);
        assert!(in_use(&mut budget, Timestamp::ZERO), "those that it used before");
        assert!(!budget.take_key(Timestamp::ZERO, Slot(2), 0), "in another session it is another");
        assert_eq!(more(&mut budget, Timestamp::from_millis(1_000)), 64);
        assert!(in_use(&mut budget, Timestamp::from_millis(1_000)));
        assert_eq!(more(&mut budget, Timestamp::from_millis(1_500)), 32);
        let keys = budget.keys.unwrap();
        assert!(keys.latest.len() + keys.earlier.len() <= 2 * KEYS_AT_ONCE);
    }
}
