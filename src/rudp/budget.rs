//! [`MemoryBudget`]: what all connections of a process may keep together.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that the connections of one process may keep together for one purpose; cheap to clone and share.
///
/// Connections on other threads may each exceed it by one message.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    held: Arc<AtomicUsize>,
    /// What of each connection does not count.
    own: usize,
    max: usize,
}

/// The budgets of a process.
#[derive(Clone, Debug)]
pub struct MemoryBudgets {
    /// Incomplete and out-of-order messages, beyond the first 64 KiB of each connection. Those are its own, so that
    /// a connection without large messages goes on when others have filled the rest, as they can with messages that
    /// they only begin.
    ///
    /// Overflow rule: a packet that would need more is dropped unacked, so its sender resends it later; of
    /// each connection one message that waits for no other is taken all the same. Spec: REL-14.
    pub receive: MemoryBudget,
    /// Messages that wait to be sent or acked, beyond the first 160 KiB of each connection. A body that
    /// several receivers share counts for each of them.
    ///
    /// Overflow rule: `send` refuses reliable messages, and the oldest others go. Spec: REL-11, REL-13.
    pub send: MemoryBudget,
}

/// Bytes of a connection that do not count in [`MemoryBudgets::receive`].
const OWN_RECEIVE_BYTES: usize = 64 << 10;
/// Those in [`MemoryBudgets::send`]: a peer that takes what it is sent gets any message of a session, however much
/// waits for others.
const OWN_SEND_BYTES: usize = 160 << 10;
/// What all connections may keep beyond these if nothing else is said.
const DEFAULT_BYTES: usize = 1 << 30;

impl MemoryBudgets {
    /// Budgets of so many bytes.
    pub fn new(receive: usize, send: usize) -> Self {
        Self {
            receive: MemoryBudget { own: OWN_RECEIVE_BYTES, ..MemoryBudget::new(receive) },
            send: MemoryBudget { own: OWN_SEND_BYTES, ..MemoryBudget::new(send) },
        }
    }
}

impl Default for MemoryBudgets {
    /// 1 GiB each.
    fn default() -> Self {
        Self::new(DEFAULT_BYTES, DEFAULT_BYTES)
    }
}

/// What one connection holds; only what exceeds its own bytes counts against the budget. Given back when dropped.
#[derive(Debug)]
pub(super) struct Share {
    held: usize,
    budget: MemoryBudget,
}

impl MemoryBudget {
    /// A budget of `max` bytes, in which all that a connection keeps counts.
    pub fn new(max: usize) -> Self {
        Self { held: Arc::default(), own: 0, max }
    }

    /// Bytes held by all connections, without the first ones of each, which do not count.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Bytes that all connections may hold.
    #[cfg(test)]
    pub fn max(&self) -> usize {
        self.max
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.held().saturating_add(bytes) <= self.max
    }
}

impl Default for MemoryBudget {
    /// 1 GiB.
    fn default() -> Self {
        Self::new(DEFAULT_BYTES)
    }
}

impl Share {
    pub(super) fn new(budget: MemoryBudget) -> Self {
        Self { held: 0, budget }
    }

    /// Bytes held.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// True when the budget has room for the share to hold so many bytes in all.
    pub(super) fn may_hold(&self, bytes: usize) -> bool {
        let (now, then) = (self.counted(self.held), self.counted(bytes));
        then <= now || self.budget.has_room(then - now)
    }

    /// From now on it holds so many bytes.
    pub(super) fn hold(&mut self, bytes: usize) {
        let (before, after) = (self.counted(self.held), self.counted(bytes));
        // Most sends stay within the own bytes, and touch nothing that other threads write to.
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
