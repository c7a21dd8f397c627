//! A fragmented message: which fragments have left, have arrived, and must be retransmitted.

use std::collections::VecDeque;

use crate::rudp::Payload;
use crate::wire::frame::FragmentHead;

/// One of the `count` fragments that a message was cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FragmentId {
    pub(super) index: u32,
    pub(super) count: u32,
}

impl FragmentId {
    /// Returns the fragment that `head` belongs to.
    pub fn of(head: &FragmentHead) -> Self {
        Self { index: head.index, count: head.count }
    }
}

#[derive(Debug)]
pub(super) struct Fragments {
    pub(super) count: u32,
    /// Index of the first fragment that was never sent.
    pub(super) next: u32,
    acked: Vec<bool>,
    missing: u32,
    pub(super) resend: VecDeque<u32>,
    /// The last fragment sent was a retransmission.
    new_is_due: bool,
}

impl Fragments {
    pub(super) fn new(payload: &Payload, fragment_bytes: usize) -> Self {
        let count = payload.len().div_ceil(fragment_bytes).max(2);
        let count = u32::try_from(count).expect("invariant: `send` has checked the message's size");
        let acked = vec![false; count as usize];
        Self { count, next: 0, acked, missing: count, resend: VecDeque::new(), new_is_due: false }
    }

    pub(super) fn peek(&self) -> Option<u32> {
        if self.is_new_next() { Some(self.next) } else { self.resend.front().copied() }
    }

    pub(super) fn pop(&mut self) {
        self.new_is_due = !self.is_new_next();
        if self.new_is_due {
            self.resend.pop_front();
        } else {
            self.next += 1;
        }
    }

    /// Alternates between lost fragments and those never sent.
    // spec: REL-15
    fn is_new_next(&self) -> bool {
        self.next < self.count && (self.new_is_due || self.resend.is_empty())
    }

    pub(super) fn is_acked(&self, index: u32) -> bool {
        self.acked.get(index as usize).copied().unwrap_or(true)
    }

    /// Returns the number of fragments that have not arrived.
    pub(super) fn missing(&self) -> u32 {
        self.missing
    }

    /// Returns true when all have arrived.
    pub(super) fn on_acked(&mut self, FragmentId { index, count }: FragmentId) -> bool {
        if count == self.count
            && let Some(acked) = self.acked.get_mut(index as usize)
            && !std::mem::replace(acked, true)
        {
            self.missing -= 1;
            self.resend.retain(|&waiting| waiting != index);
        }
        self.missing == 0
    }

    pub(super) fn on_lost(&mut self, FragmentId { index, count }: FragmentId) -> bool {
        let needed = count == self.count && !self.is_acked(index) && !self.resend.contains(&index);
        if needed {
            self.resend.push_back(index);
        }
        needed
    }
}
