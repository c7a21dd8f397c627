//! [`HeldResults`]: results that wait for the snapshot of a session that was entered before them.

use bytes::Bytes;

use crate::base::{RequestId, Slot};
use crate::wire::frame::MESSAGE_OVERHEAD_BYTES;

/// Results of the control stream in the order of their requests. The first, if any, is that of an entry: it
/// follows the session's snapshot, which arrives by mail.
///
/// Entries are added and settled in the order of their slots, because a worker's mail keeps the order in
/// which the worker entered sessions.
// spec: SES-14
#[derive(Debug, Default)]
pub(super) struct HeldResults {
    results: Vec<Held>,
    /// Bytes that they will count as in the queue.
    bytes: usize,
}

#[derive(Debug)]
enum Held {
    /// The result of a request that entered a session.
    Entry { slot: Slot, request: RequestId },
    /// A result behind one that waits.
    Result(Bytes),
}

impl HeldResults {
    pub(super) fn is_empty(&self) -> bool {
        self.results.is_empty()
    }

    /// Returns the bytes of the results, including the overhead of each in a connection's queue.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Holds the result of an entry until the slot's snapshot is sent.
    pub(super) fn hold_entry(&mut self, slot: Slot, request: RequestId) {
        self.results.push(Held::Entry { slot, request });
    }

    /// Holds a result behind those that wait.
    pub(super) fn hold(&mut self, result: Bytes) {
        self.bytes += cost(&result);
        self.results.push(Held::Result(result));
    }

    /// Returns true while a slot's snapshot was not sent, so that the client cannot know of the slot.
    pub(super) fn is_entering(&self, slot: Slot) -> bool {
        matches!(self.results.first(), Some(Held::Entry { slot: first, .. }) if slot >= *first)
    }

    /// Settles the entry of a slot whose snapshot was sent, with this result. Returns what may leave now.
    pub(super) fn settle(&mut self, slot: Slot, result: impl FnOnce(RequestId) -> Bytes) -> Vec<Bytes> {
        if let Some(Held::Entry { slot: entered, request }) = self.results.first()
            && *entered == slot
        {
            let result = result(*request);
            self.results.remove(0);
            let next = self.results.iter().position(|held| matches!(held, Held::Entry { .. }));
            // Keeps no memory for later results.
            let rest = self.results.split_off(next.unwrap_or(self.results.len()));
            let behind = std::mem::replace(&mut self.results, rest).into_iter();
            let behind =
                behind.filter_map(|held| if let Held::Result(result) = held { Some(result) } else { None });
            let behind: Vec<_> = behind.inspect(|result| self.bytes -= cost(result)).collect();
            return std::iter::once(result).chain(behind).collect();
        }
        Vec::new()
    }
}

/// Returns the bytes that a message will count as in the queue.
pub(super) fn cost(result: &Bytes) -> usize {
    result.len() + MESSAGE_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    // spec-test: SES-14
    #[test]
    fn what_waits_leaves_in_order_behind_its_entry() {
        let mut held = HeldResults::default();
        held.hold_entry(Slot(3), RequestId(1));
        held.hold(result("a"));
        held.hold_entry(Slot(4), RequestId(3));
        held.hold(result("b"));
        held.hold(result("c"));
        assert_eq!([2, 3, 4, 5].map(|slot| held.is_entering(Slot(slot))), [false, true, true, true]);
        assert_eq!(held.bytes(), 3 * (1 + MESSAGE_OVERHEAD_BYTES));
        assert_eq!(held.settle(Slot(9), |_| panic!("no such entry")), [] as [Bytes; 0]);
        let entered = |request: RequestId| Bytes::from(request.0.to_string());
        assert_eq!(held.settle(Slot(3), entered), ["1", "a"].map(result));
        assert_eq!([3, 4].map(|slot| held.is_entering(Slot(slot))), [false, true]);
        assert_eq!(held.settle(Slot(4), entered), ["3", "b", "c"].map(result));
        assert!(held.is_empty() && held.bytes() == 0 && held.results.capacity() == 0);
    }
}
