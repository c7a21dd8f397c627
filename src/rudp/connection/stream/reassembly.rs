//! Reassembly of fragmented messages, and the budget for all messages that wait for missing parts.

use std::cmp::Ordering;

use bytes::Bytes;

use super::bits::BitSet;
use crate::rudp::MemoryBudget;
use crate::rudp::budget::Share;
use crate::rudp::connection::error::ProtocolViolation;
use crate::wire::Delivery;
use crate::wire::frame::{Fragment, MESSAGE_OVERHEAD_BYTES};

/// Counts the bytes of incomplete and out-of-order messages and limits them: to the connection's own limit,
/// which was announced to the peer, and to the process's, which was not. Spec: REL-12, REL-14.
#[derive(Debug)]
pub struct ReceiveBuffer {
    share: Share,
    max: usize,
}

impl ReceiveBuffer {
    /// Creates an empty buffer of `max` bytes that also counts against `process`.
    pub fn new(max: usize, process: MemoryBudget) -> Self {
        Self { share: Share::new(process), max }
    }

    /// Counts against `process` from now on.
    pub fn share_budget(&mut self, process: MemoryBudget) {
        self.share.move_to(process);
    }

    /// Returns the bytes held.
    #[cfg(any(test, fuzzing))]
    pub fn held(&self) -> usize {
        self.share.held()
    }

    /// Returns true when the process has room for `bytes` more.
    pub fn has_process_room(&self, bytes: usize) -> bool {
        self.share.may_hold(self.share.held() + bytes)
    }

    /// Reserves room for a message of `bytes`.
    ///
    /// # Errors
    /// [`ProtocolViolation::ReceiveBuffer`] when there is not enough: the peer knows the size.
    // spec: REL-12
    pub fn charge(&mut self, bytes: usize) -> Result<(), ProtocolViolation> {
        let held = self.share.held() + bytes + MESSAGE_OVERHEAD_BYTES;
        if held > self.max {
            return Err(ProtocolViolation::ReceiveBuffer { max: self.max });
        }
        self.share.hold(held);
        Ok(())
    }

    /// Releases the room of a message of `bytes`.
    pub fn release(&mut self, bytes: usize) {
        self.share.hold(self.share.held() - bytes - MESSAGE_OVERHEAD_BYTES);
    }
}

/// A message of which some fragments have arrived.
#[derive(Debug)]
pub struct Reassembly {
    delivery: Delivery,
    count: u32,
    total: u32,
    arrived: BitSet,
    /// The message in pages of [`PAGE_BYTES`], each allocated once part of it has arrived. The first fragment
    /// of a message thus costs what it holds, not what it declares.
    pages: Box<[Page]>,
}

/// Empty until part of it has arrived.
type Page = Box<[u8]>;

const PAGE_BYTES: usize = 4_096;

impl Reassembly {
    /// Creates the reassembly of the message that `fragment` belongs to; the caller has charged the buffer
    /// for it.
    pub fn new(fragment: &Fragment) -> Self {
        let head = &fragment.head;
        Self {
            delivery: head.delivery,
            count: head.count,
            total: head.total,
            arrived: BitSet::new(head.count as usize),
            pages: vec![Page::default(); (head.total as usize).div_ceil(PAGE_BYTES)].into(),
        }
    }

    /// Returns the size of the whole message in bytes.
    pub fn total(&self) -> usize {
        self.total as usize
    }

    /// Inserts a fragment. Returns true when none is missing.
    ///
    /// # Errors
    /// [`ProtocolViolation::FragmentMismatch`] when it declares a different message than the first one did.
    // spec: FRM-6
    pub fn insert(&mut self, number: u64, fragment: &Fragment) -> Result<bool, ProtocolViolation> {
        let head = &fragment.head;
        let mismatch = ProtocolViolation::FragmentMismatch { number };
        if head.total != self.total || head.delivery != self.delivery {
            return Err(mismatch);
        }
        // spec: FRM-12
        match head.count.cmp(&self.count) {
            Ordering::Less => return Ok(false),
            Ordering::Equal => {}
            Ordering::Greater => self.begin_again(head.count),
        }
        if !self.arrived.contains(head.index as usize) {
            if head.offset() + fragment.payload.len() > self.total() {
                return Err(mismatch);
            }
            self.write(head.offset(), &fragment.payload);
            self.arrived.insert(head.index as usize);
        }
        Ok(self.arrived.len() == self.count)
    }

    fn write(&mut self, mut at: usize, mut bytes: &[u8]) {
        let total = self.total();
        while !bytes.is_empty() {
            let (number, offset) = (at / PAGE_BYTES, at % PAGE_BYTES);
            let Some(page) = self.pages.get_mut(number) else { return };
            if page.is_empty() {
                *page = vec![0; PAGE_BYTES.min(total - number * PAGE_BYTES)].into();
            }
            let (here, rest) = bytes.split_at(bytes.len().min(PAGE_BYTES - offset));
            if let Some(place) = page.get_mut(offset..offset + here.len()) {
                place.copy_from_slice(here);
            }
            (at, bytes) = (at + here.len(), rest);
        }
    }

    /// Starts over: the sender has cut the message into more fragments and sends all of them again.
    fn begin_again(&mut self, count: u32) {
        self.count = count;
        self.arrived = BitSet::new(count as usize);
    }

    /// Returns the whole message.
    pub fn finish(self) -> Bytes {
        let mut whole = Vec::with_capacity(self.total());
        self.pages.iter().for_each(|page| whole.extend_from_slice(page));
        whole.into()
    }

    #[cfg(test)]
    fn heap_bytes(&self) -> usize {
        let pages = self.pages.iter().map(|page| size_of::<Page>() + page.len());
        self.arrived.heap_bytes() + pages.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{StreamId, Truncated};
    use crate::wire::frame::{FragmentHead, MAX_FRAGMENTS, Place};

    fn first_of(count: u32, total: u32) -> Fragment {
        let place = Place { stream: StreamId(1), number: Truncated::bits8(0) };
        let head = FragmentHead { place, delivery: Delivery::ReliableOrdered, count, total, index: 0 };
        Fragment { head, payload: vec![0; head.payload_bytes()].into() }
    }

    /// Fragments of one byte each, and more of them after the message was cut anew.
    // spec-test: REL-12, FRM-12
    #[test]
    fn what_is_kept_of_a_message_is_what_it_counts_whatever_its_fragments() {
        assert!(size_of::<(u64, Reassembly)>() <= MESSAGE_OVERHEAD_BYTES);
        let mut partial = Reassembly::new(&first_of(2, MAX_FRAGMENTS));
        for count in [2, 64, 65, MAX_FRAGMENTS] {
            assert_eq!(partial.insert(0, &first_of(count, MAX_FRAGMENTS)), Ok(false));
            let counted = partial.total() + MESSAGE_OVERHEAD_BYTES;
            let kept = size_of_val(&partial) + partial.heap_bytes();
            assert!(kept <= counted + counted / 8, "{kept} bytes, {counted} are counted");
        }
    }

    /// Otherwise a peer that keeps beginning new messages would make a few bytes cost as many as they
    /// declare.
    #[test]
    fn a_fragment_takes_what_it_holds_and_not_what_it_declares() {
        let mut last = first_of(MAX_FRAGMENTS, 128 << 10);
        last.head.index = MAX_FRAGMENTS - 1;
        last.payload = vec![7; last.head.payload_bytes()].into();
        let mut partial = Reassembly::new(&last);
        assert_eq!(partial.insert(0, &last), Ok(false));
        assert!(partial.heap_bytes() < 3 * PAGE_BYTES, "{}", partial.heap_bytes());
    }

    #[test]
    fn fragments_in_any_order_make_the_message_whatever_pages_they_cross() {
        let message: Vec<u8> = (0..20_001_u32).map(|at| (at % 251) as u8).collect();
        for count in [2_u32, 3, 17, 488] {
            let mut partial = Reassembly::new(&first_of(count, 20_001));
            let order = (0..count).rev().step_by(2).chain((0..count).rev().skip(1).step_by(2));
            let done: Vec<bool> = order
                .map(|index| {
                    let mut fragment = first_of(count, 20_001);
                    fragment.head.index = index;
                    let (from, bytes) = (fragment.head.offset(), fragment.head.payload_bytes());
                    fragment.payload = message[from..from + bytes].to_vec().into();
                    partial.insert(0, &fragment).unwrap()
                })
                .collect();
            assert_eq!(done.iter().position(|done| *done), Some(count as usize - 1));
            assert_eq!(partial.finish(), message);
        }
    }
}
