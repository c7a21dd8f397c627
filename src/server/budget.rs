//! How fast one connection may act. Refusing here, at ingress, keeps a flooder from the members of
//! its sessions.

use super::limits::Limits;
use crate::base::{Slot, Timestamp, TokenBucket};
use crate::session::KeyBudget;

/// Bytes of the largest command: a full payload and what stands before it, or a session's full
/// properties. What a server takes as a message, and what always fits a full budget.
pub const MAX_COMMAND_BYTES: usize = 128 << 10;

/// Users that may be invited at once: a full session.
const INVITES_AT_ONCE: u64 = 1_024;

/// What one connection may send to the application layer. Spec: LIM-2, LIM-4, LIM-6.
#[derive(Debug)]
pub struct Budget {
    commands: TokenBucket,
    bytes: TokenBucket,
    /// Nothing until a message has a key.
    keys: Option<Box<KeyBudget<(Slot, u16)>>>,
    keys_per_second: u64,
    invites: TokenBucket,
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
    /// Users invited a second.
    pub invites_per_second: u64,
}

impl From<&Limits> for Rates {
    fn from(limits: &Limits) -> Self {
        Self {
            commands_per_second: limits.commands_per_second,
            bytes_per_second: limits.command_bytes_per_second,
            keys_per_second: limits.new_keys_per_second,
            invites_per_second: limits.invites_per_second,
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
            invites: TokenBucket::new(
                now,
                rates.invites_per_second,
                INVITES_AT_ONCE.max(rates.invites_per_second),
            ),
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
        self.keys.get_or_insert_with(|| Box::new(KeyBudget::new(now, rate))).take(now, (slot, key))
    }

    /// Takes an invitation of so many users; false when too many are invited too soon.
    pub fn take_invites(&mut self, now: Timestamp, users: usize) -> bool {
        self.invites.take(now, users as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_of_the_largest_size_passes_a_full_budget() {
        let rates =
            Rates { commands_per_second: 5, bytes_per_second: 10, keys_per_second: 1, invites_per_second: 1 };
        let mut budget = Budget::new(Timestamp::ZERO, &rates);
        assert!(budget.take(Timestamp::ZERO, MAX_COMMAND_BYTES));
        assert!(!budget.take(Timestamp::ZERO, 1), "the bytes are gone");
        assert!(budget.take(Timestamp::from_millis(500), 5));
        assert!(!budget.take(Timestamp::from_millis(500), 1));
    }
}
