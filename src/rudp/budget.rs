//! [`MemoryBudget`]: memory that all connections of a process share.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that the connections of one process may keep together for one purpose; cheap to clone and share.
///
/// Connections on different threads may each exceed it by one message.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    held: Arc<AtomicUsize>,
    /// Bytes of each connection that do not count.
    own: usize,
    max: usize,
}

/// The memory budgets of a process.
#[derive(Clone, Debug)]
pub struct MemoryBudgets {
    /// Incomplete and out-of-order messages beyond the first 64 KiB of each connection. Those 64 KiB are its
    /// own, so that a connection without large messages keeps working when others have filled the rest, which
    /// they can do with messages that they only begin.
    ///
    /// Overflow rule: a packet that would need more is dropped unacked, so its sender retransmits it later.
    /// Each connection may still keep one message that waits for no other. Spec: REL-14.
    pub receive: MemoryBudget,
    /// Messages waiting to be sent or acked, beyond the first 160 KiB of each connection. A body shared by
    /// several receivers counts for each of them.
    ///
    /// Overflow rule: `send` refuses reliable messages, and the oldest of the others are dropped.
    /// Spec: REL-11, REL-13.
    pub send: MemoryBudget,
}

/// Bytes of a connection that do not count in [`MemoryBudgets::receive`].
const OWN_RECEIVE_BYTES: usize = 64 << 10;
/// Bytes of a connection that do not count in [`MemoryBudgets::send`]. A peer that takes what it is sent thus
/// gets any message of a session, however much waits for other peers.
const OWN_SEND_BYTES: usize = 160 << 10;
/// What all connections may keep beyond their own bytes by default.
const DEFAULT_BYTES: usize = 1 << 30;

impl MemoryBudgets {
    /// Creates budgets of `receive` and `send` bytes.
    pub fn new(receive: usize, send: usize) -> Self {
        Self {
            receive: MemoryBudget { own: OWN_RECEIVE_BYTES, ..MemoryBudget::new(receive) },
            send: MemoryBudget { own: OWN_SEND_BYTES, ..MemoryBudget::new(send) },
        }
    }
}

impl Default for MemoryBudgets {
    /// Returns budgets of 1 GiB each.
    fn default() -> Self {
        Self::new(DEFAULT_BYTES, DEFAULT_BYTES)
    }
}

/// What one connection holds. Only the part beyond its own bytes counts against the budget; it is released on
/// drop.
#[derive(Debug)]
pub(super) struct Share {
    held: usize,
    budget: MemoryBudget,
}

impl MemoryBudget {
    /// Creates a budget of `max` bytes that counts everything a connection keeps.
    pub fn new(max: usize) -> Self {
        Self { held: Arc::default(), own: 0, max }
    }

    /// Returns the bytes held by all connections, without the first ones of each, which do not count.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Returns the bytes that all connections may hold.
    #[cfg(test)]
    pub fn max(&self) -> usize {
        self.max
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.held().saturating_add(bytes) <= self.max
    }
}

impl Default for MemoryBudget {
    /// Returns a budget of 1 GiB.
    fn default() -> Self {
        Self::new(DEFAULT_BYTES)
    }
}

impl Share {
    pub(super) fn new(budget: MemoryBudget) -> Self {
        Self { held: 0, budget }
    }

    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Returns true when the budget allows the share to hold `bytes` in all.
    pub(super) fn may_hold(&self, bytes: usize) -> bool {
        let (now, then) = (self.counted(self.held), self.counted(bytes));
        then <= now || self.budget.has_room(then - now)
    }

    /// Sets the share to `bytes`.
    pub(super) fn hold(&mut self, bytes: usize) {
        let (before, after) = (self.counted(self.held), self.counted(bytes));
        // Most sends stay within the connection's own bytes and touch nothing that other threads write to.
        if after > before {
            self.budget.held.fetch_add(after - before, Ordering::Relaxed);
        } else if after < before {
            self.budget.held.fetch_sub(before - after, Ordering::Relaxed);
        }
        self.held = bytes;
    }

    /// Counts against another budget from now on.
    pub(super) fn move_to(&mut self, budget: MemoryBudget) {
        let held = self.held;
        self.hold(0);
        self.budget = budget;
        self.hold(held);
    }

    fn counted(&self, bytes: usize) -> usize {
        bytes.saturating_sub(self.budget.own)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.hold(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_counts_what_is_beyond_its_own_and_gives_it_back() {
        let (budget, other) = (MemoryBudget::new(100), MemoryBudget::new(5));
        let mut shares = [10, 0].map(|own| Share::new(MemoryBudget { own, ..budget.clone() }));
        for (held, counted) in [(5, 0), (10, 0), (60, 50), (20, 10), (9, 0), (90, 80)] {
            shares[0].hold(held);
            assert_eq!(budget.held(), counted);
        }
        assert!(shares[1].may_hold(20) && !shares[1].may_hold(21));
        shares[1].hold(30);
        assert!(shares[1].may_hold(30) && !shares[1].may_hold(31) && shares[0].may_hold(80));
        shares[0].move_to(other.clone());
        assert_eq!((budget.held(), other.held()), (30, 90));
        drop(shares);
        assert_eq!((budget.held(), other.held()), (0, 0));
    }
}
