//! One number space of the sending side, and the messages kept in it.

use std::collections::VecDeque;
use std::ops::Range;

use super::super::{Buffered, NARROW_SPAN};
use super::Fragments;
use crate::base::{Blank, Rare, Truncated};
use crate::rudp::Payload;
use crate::wire::Delivery;

#[derive(Debug, Default)]
pub(super) struct SendSpace {
    /// Number of the first entry, the oldest that is not settled.
    pub(super) base: u64,
    pub(super) entries: VecDeque<Entry>,
    /// Number after the largest ever sent.
    pub(super) sent_end: u64,
    /// Number after the largest acked.
    pub(super) acked_end: u64,
    pub(super) slow: Rare<Slow>,
}

#[derive(Debug)]
pub(super) struct Entry {
    /// Bytes that the message has taken up in the peer's receive buffer since it first left.
    pub(super) charged: usize,
    pub(super) message: Option<Outgoing>,
}

#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) delivery: Delivery,
    pub(super) payload: Payload,
    /// Number of packets in flight that carry the message whole.
    pub(super) copies: u32,
    pub(super) queued: bool,
    pub(super) fragments: Option<Box<Fragments>>,
}

impl Blank for SendSpace {
    const BLANK: &'static Self =
        &Self { base: 0, entries: VecDeque::new(), sent_end: 0, acked_end: 0, slow: Rare::new() };
}

/// State needed only for messages that are not settled soon.
#[derive(Debug, Default)]
pub(super) struct Slow {
    /// First fragmented message that has not begun to leave; small ones after it are held, not queued.
    pub(super) holds_from: Option<u64>,
    oldest: Oldest,
}

impl Blank for Slow {
    const BLANK: &'static Self =
        &Self { holds_from: None, oldest: Oldest { number: 0, missing: 0, seen: 0 } };
}

/// The oldest unsettled message when it was last checked: the low bits of its number, and how many of its
/// fragments were missing.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Oldest {
    number: u32,
    missing: u16,
    /// Number of checks in a row that found it unchanged.
    seen: u16,
}

impl SendSpace {
    pub(super) fn end(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    pub(super) fn entry(&self, number: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(number.checked_sub(self.base)?).ok()?)
    }

    pub(super) fn entry_mut(&mut self, number: u64) -> Option<&mut Entry> {
        self.entries.get_mut(usize::try_from(number.checked_sub(self.base)?).ok()?)
    }

    /// Returns the numbers of the messages that are no longer held if a large one has begun to leave: those
    /// up to the next large one.
    pub(super) fn release(&mut self) -> Range<u64> {
        let Some(begun) = self.slow.holds_from.filter(|large| *large < self.sent_end) else { return 0..0 };
        let is_large = |number: &u64| {
            let message = self.entry(*number).and_then(|entry| entry.message.as_ref());
            message.is_some_and(|message| message.fragments.is_some())
        };
        let held = begun + 1;
        let next_large = (held..self.end()).find(is_large);
        self.slow.holds_from = next_large;
        held..next_large.unwrap_or(self.end())
    }

    /// Returns how many checks in a row, including this one, found the oldest message, of which something has
    /// left, unchanged.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the low bits tell messages apart that were seen in turn"
    )]
    pub(super) fn look_at_oldest(&mut self) -> u16 {
        let oldest = self.entries.front().and_then(|entry| entry.message.as_ref());
        let Some(oldest) = oldest.filter(|it| it.delivery.is_reliable() && self.base < self.sent_end) else {
            if let Some(slow) = self.slow.get_mut() {
                slow.oldest = Oldest::default();
            }
            return 0;
        };
        let missing = oldest.fragments.as_ref().map_or(0, |fragments| fragments.missing()) as u16;
        let before = self.slow.oldest;
        let is_as_before = (before.number, before.missing) == (self.base as u32, missing);
        let seen = if is_as_before { before.seen.saturating_add(1) } else { 1 };
        self.slow.oldest = Oldest { number: self.base as u32, missing, seen };
        seen
    }

    /// Returns true when no message before `number` waits to leave for the first time.
    pub(super) fn is_first_to_leave(&self, number: u64) -> bool {
        let mut earlier = self.sent_end.max(self.base)..number;
        earlier.all(|number| self.entry(number).is_none_or(|entry| entry.message.is_none()))
    }

    /// Drops settled entries from the old end. Returns the bytes freed in the peer's receive buffer.
    pub(super) fn settle(&mut self) -> usize {
        let mut freed = 0;
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.message.is_none()) {
            freed += entry.charged;
            self.base += 1;
        }
        freed
    }

    /// Frees memory beyond what is in use.
    pub(super) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
        if self.entries.is_empty() {
            self.slow.clear();
        }
    }

    /// Truncates to one byte while few numbers are unsettled, otherwise to four.
    // spec: STR-5
    pub(super) fn truncate(&self, number: u64) -> Truncated {
        let oldest = self.base.min(self.acked_end);
        let newest = self.sent_end.max(number + 1);
        if newest - oldest < NARROW_SPAN { Truncated::bits8(number) } else { Truncated::bits32(number) }
    }
}

impl Entry {
    /// Returns true when its message need not arrive once there is a `newer` one of the same key.
    pub(super) fn gives_way_to(&self, newer: Delivery) -> bool {
        self.message.as_ref().is_some_and(|message| {
            (newer.is_reliable() || !message.delivery.is_reliable())
                && (message.fragments.is_none() || self.charged == 0)
        })
    }
}

impl Outgoing {
    /// Returns true when a message of `delivery` would wait in the same place of the same queue.
    pub(super) fn is_queued_like(&self, delivery: Delivery, in_fragments: bool) -> bool {
        self.delivery == delivery && self.fragments.is_some() == in_fragments
    }

    /// Returns what the message takes up in a buffer.
    pub(super) fn buffered(&self) -> Buffered {
        Buffered::message(self.payload.len())
    }
}
