//! How fast one connection may act. Refusing here, at ingress, keeps a flooder from the members of
//! its sessions.

use super::limits::Limits;
use crate::base::{Timestamp, TokenBucket};

/// Bytes of the largest command: a full payload and what stands before it, or a session's full
/// properties. What a server takes as a message, and what always fits a full budget.
pub const MAX_COMMAND_BYTES: usize = 128 << 10;

/// What one connection may send to the application layer. Spec: LIM-2.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    commands: TokenBucket,
    bytes: TokenBucket,
}

/// The rates of a [`Budget`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Commands a second.
    pub commands_per_second: u64,
    /// Bytes of commands a second.
    pub bytes_per_second: u64,
}

impl From<&Limits> for Rates {
    fn from(limits: &Limits) -> Self {
        Self {
            commands_per_second: limits.commands_per_second,
            bytes_per_second: limits.command_bytes_per_second,
        }
    }
}

impl Budget {
    /// A full budget.
    pub fn new(now: Timestamp, rates: &Rates) -> Self {
        Self {
            commands: TokenBucket::new(now, rates.commands_per_second, 0),
            bytes: TokenBucket::new(now, rates.bytes_per_second, MAX_COMMAND_BYTES as u64),
        }
    }

    /// Takes one command of `bytes`; false when it comes too soon. A refused command costs a
    /// command, not its bytes: a flooder of large ones is not starved of small ones.
    pub fn take(&mut self, now: Timestamp, bytes: usize) -> bool {
        self.commands.take(now, 1) && self.bytes.take(now, bytes as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_of_the_largest_size_passes_a_full_budget() {
        let rates = Rates { commands_per_second: 5, bytes_per_second: 10 };
        let mut budget = Budget::new(Timestamp::ZERO, &rates);
        assert!(budget.take(Timestamp::ZERO, MAX_COMMAND_BYTES));
        assert!(!budget.take(Timestamp::ZERO, 1), "the bytes are gone");
        assert!(budget.take(Timestamp::from_millis(500), 5));
        assert!(!budget.take(Timestamp::from_millis(500), 1));
    }
}
