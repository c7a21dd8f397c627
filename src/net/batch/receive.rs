//! [`ReceiveBatch`]: datagrams from the kernel, one batch at a time.
//!
//! Slots are reused. A received datagram is copied out of its slot into a block that its whole batch shares,
//! and that is used again once no part of it is held. At a game's datagram sizes the copy costs two orders of
//! magnitude less than a system call. Code that keeps a part for longer copies it, or keeps the bytes of at
//! most one batch.

use std::io;
use std::ops::Range;

use bytes::BytesMut;

use super::{BATCH, is_transient};
use crate::base::Envelope;
use crate::net::port::Port;
use crate::net::{Counters, IoPath, Socket};

/// Room for what one system call may put in a slot: a datagram, or a row of datagrams that the kernel has
/// joined. The additional cache line keeps the beginnings of the slots from sharing the same few lines of the
/// cache.
const SLOT_BYTES: usize = 65_536 + 64;

/// Minimum number of slots per system call. Asking for many costs more than receiving the few that usually
/// arrive.
pub(in crate::net) const MIN_ASKED: usize = 8;

/// Contents of one slot.
pub(in crate::net) struct Arrival {
    pub bytes: usize,
    /// Length of each datagram in the slot except the last, which may be shorter.
    pub datagram_bytes: usize,
    pub from: Envelope,
}

/// Receives, and hands up one batch at a time.
pub(in crate::net) struct ReceiveBatch {
    path: IoPath,
    slots: Box<[u8]>,
    arrivals: Vec<Arrival>,
    /// Places of the received datagrams in the slots. The first `taken` have been handed up.
    datagrams: Vec<(Envelope, Range<usize>)>,
    taken: usize,
    block: BytesMut,
    /// Number of slots passed to the next system call.
    asked: usize,
    /// Whether the last call filled all slots that it was given.
    was_full: bool,
    /// Number of consecutive errors.
    failures: u32,
}

/// Number of consecutive errors up to which the call is repeated at once, because they may be transient.
const MOMENTS: u32 = 16;

impl ReceiveBatch {
    /// Creates a batch for `port`. If `path` is [`IoPath::Batched`], the kernel may join datagrams and
    /// reports their marks.
    pub(in crate::net) fn new(port: &Port, path: IoPath) -> Self {
        #[cfg(target_os = "linux")]
        if path == IoPath::Batched {
            crate::net::sys::join_received(port.socket());
            crate::net::sys::read_marks(port.socket());
        }
        let _ = port;
        Self {
            path,
            slots: slots(MIN_ASKED),
            arrivals: Vec::with_capacity(BATCH),
            datagrams: Vec::with_capacity(BATCH),
            taken: 0,
            block: BytesMut::new(),
            asked: MIN_ASKED,
            was_full: false,
            failures: 0,
        }
    }

    /// Makes received datagrams available to be drained. Returns true if more than one batch may be waiting.
    ///
    /// # Errors
    /// Those that make the socket unusable.
    pub(in crate::net) fn receive(&mut self, port: &Port, counters: &Counters) -> io::Result<bool> {
        if self.is_empty() {
            if self.slots.len() < self.asked * SLOT_BYTES {
                self.slots = slots(BATCH);
            }
            match self.receive_by_path(port) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Received datagrams are handed up first; a lasting error occurs again.
                Err(_) if !self.arrivals.is_empty() => {}
                Err(error) if is_transient(&error) => {
                    self.failures += 1;
                    counters.receive_errors.add(1);
                    tracing::debug!(%error, "a receive failed");
                    return Ok(true);
                }
                Err(error) => return Err(error),
            }
            self.failures = 0;
            self.was_full = self.arrivals.len() == self.asked;
            let more = (self.arrivals.len() * 2).clamp(MIN_ASKED, BATCH);
            self.asked = if self.was_full { BATCH } else { more };
            self.find_datagrams(counters);
        }
        Ok(self.was_full || self.waiting() > BATCH)
    }

    /// Returns true if receiving keeps failing, so that repeating it at once would only keep a core busy.
    pub(in crate::net) fn keeps_failing(&self) -> bool {
        self.failures > MOMENTS
    }

    /// Returns the next received datagrams in order of arrival, at most one batch.
    pub(in crate::net) fn drain<'a>(
        &'a mut self,
        counters: &'a Counters,
    ) -> impl Iterator<Item = (Envelope, BytesMut)> + 'a {
        let first = self.taken;
        self.taken += self.waiting().min(BATCH);
        let batch = self.datagrams.get(first..self.taken).unwrap_or_default();
        let bytes = batch.iter().map(|(_, place)| place.len()).sum();
        if !self.block.try_reclaim(bytes) {
            self.block = BytesMut::with_capacity(bytes);
        }
        counters.datagrams_in.add_len(batch.len());
        counters.bytes_in.add_len(bytes);
        batch.iter().filter_map(|(from, place)| {
            self.block.extend_from_slice(self.slots.get(place.clone())?);
            Some((*from, self.block.split()))
        })
    }

    /// Returns true if nothing waits to be drained.
    pub(in crate::net) fn is_empty(&self) -> bool {
        self.waiting() == 0
    }

    fn waiting(&self) -> usize {
        self.datagrams.len() - self.taken
    }

    fn receive_by_path(&mut self, port: &Port) -> io::Result<()> {
        self.arrivals.clear();
        let mut slots = self.slots.chunks_exact_mut(SLOT_BYTES).take(self.asked);
        match self.path {
            #[cfg(target_os = "linux")]
            IoPath::Batched => port.receive_by(|udp| {
                crate::net::sys::receive_batch(udp, slots, &mut self.arrivals)?;
                // Fewer than asked for: the socket is empty, which saves asking again. A datagram that
                // arrives after the call makes it readable again, because readiness is edge-triggered.
                let is_empty = self.arrivals.len() < self.asked;
                if is_empty { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            }),
            _ => slots.try_for_each(|slot| {
                let (bytes, from) = port.receive(slot)?;
                self.arrivals.push(Arrival { bytes, datagram_bytes: bytes, from: from.into() });
                Ok(())
            }),
        }
    }

    fn find_datagrams(&mut self, counters: &Counters) {
        self.datagrams.clear();
        self.taken = 0;
        counters.batches_in.add(u64::from(!self.arrivals.is_empty()));
        for (slot, arrival) in self.arrivals.iter().enumerate() {
            if arrival.datagram_bytes > Socket::MAX_DATAGRAM_BYTES {
                counters.oversized.add(1);
                continue;
            }
            let start = slot * SLOT_BYTES;
            let end = start + arrival.bytes;
            // An empty datagram also counts as one.
            let mut at = start;
            loop {
                let next = end.min(at + arrival.datagram_bytes.max(1));
                self.datagrams.push((arrival.from, at..next));
                at = next;
                if at == end {
                    break;
                }
            }
        }
    }
}

/// Allocates room for `count` datagrams. Few datagrams exceed a page, and zeroed memory is provided only once
/// it is touched. But memory that was in use before is cleared completely, so a batch has no more slots than
/// it needs.
fn slots(count: usize) -> Box<[u8]> {
    vec![0; count * SLOT_BYTES].into_boxed_slice()
}
