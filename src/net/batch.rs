//! Datagrams on their way through the kernel: a [`ReceiveBatch`] and a [`SendBatch`] of one batch each.
//!
//! Slots are reused. A received datagram is copied out of its slot into a block that its whole batch shares,
//! and that is used again once no part of it is held. At a game's datagram sizes the copy costs two orders of
//! magnitude less than a system call. Code that keeps a part for longer copies it, or keeps the bytes of at
//! most one batch.

use std::io;
use std::ops::Range;

use bytes::BytesMut;

use super::port::Port;
use super::{Counters, IoPath, Socket};
use crate::base::{Ecn, Envelope};

/// Maximum number of datagrams handed up or sent at once.
pub(super) const BATCH: usize = 64;

/// Room for what one system call may put in a slot: a datagram, or a row of datagrams that the kernel has
/// joined. The additional cache line keeps the beginnings of the slots from sharing the same few lines of the
/// cache.
const SLOT_BYTES: usize = 65_536 + 64;

/// Minimum number of slots per system call. Asking for many costs more than receiving the few that usually
/// arrive.
pub(super) const MIN_ASKED: usize = 8;

/// Contents of one slot.
pub(super) struct Arrival {
    pub bytes: usize,
    /// Length of each datagram in the slot except the last, which may be shorter.
    pub datagram_bytes: usize,
    pub from: Envelope,
}

/// Receives, and hands up one batch at a time.
pub(super) struct ReceiveBatch {
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
    pub(super) fn new(port: &Port, path: IoPath) -> Self {
        #[cfg(target_os = "linux")]
        if path == IoPath::Batched {
            super::sys::join_received(port.socket());
            super::sys::read_marks(port.socket());
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
    pub(super) fn receive(&mut self, port: &Port, counters: &Counters) -> io::Result<bool> {
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
    pub(super) fn keeps_failing(&self) -> bool {
        self.failures > MOMENTS
    }

    /// Returns the next received datagrams in order of arrival, at most one batch.
    pub(super) fn drain<'a>(
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
    pub(super) fn is_empty(&self) -> bool {
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
                super::sys::receive_batch(udp, slots, &mut self.arrivals)?;
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

/// How far a [`SendBatch`] was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Everything is sent.
    Dry,
    /// The socket's buffer is full; the unsent datagrams are kept.
    Blocked,
}

/// Sends one batch at a time, and keeps the datagrams that the socket has no room for.
pub(super) struct SendBatch {
    path: IoPath,
    /// The mark that the kernel writes by default; `None` if it writes none at all.
    #[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "nothing is marked there"))]
    unsaid: Option<Ecn>,
    slots: Vec<(Envelope, BytesMut)>,
    /// Number of slots in use.
    filled: usize,
    /// Number of slots already sent, from the first on.
    sent: usize,
    /// Number of datagrams still to be sent one by one, not in rows.
    single: usize,
}

/// More datagrams than any process sends.
const ALL: usize = usize::MAX;
/// After an interface has refused rows in general, a row is tried again after this number of datagrams.
const ROWS_AFTER: usize = 4_096;

impl SendBatch {
    /// Creates a batch for `port`. If `path` is [`IoPath::Batched`] and the kernel can do it, sent datagrams
    /// are marked.
    pub(super) fn new(port: &Port, path: IoPath) -> Self {
        let nowhere = Envelope::from(([0, 0, 0, 0], 0));
        let single = if path == IoPath::Batched && port.can_split() { 0 } else { ALL };
        let unsaid = if path == IoPath::Batched { port.mark_sent() } else { None };
        Self { path, unsaid, slots: vec![(nowhere, BytesMut::new()); BATCH], filled: 0, sent: 0, single }
    }

    /// Fills the slots, which must all be sent, from `next`. Returns true if they are full, so that there may
    /// be more.
    pub(super) fn fill(&mut self, mut next: impl FnMut(&mut BytesMut) -> Option<Envelope>) -> bool {
        debug_assert_eq!(self.sent, self.filled, "unsent datagrams would be lost");
        (self.filled, self.sent) = (0, 0);
        for (receiver, datagram) in &mut self.slots {
            datagram.clear();
            match next(datagram) {
                Some(to) => *receiver = to,
                None => return false,
            }
            self.filled += 1;
        }
        true
    }

    /// Sends the datagrams in the slots.
    ///
    /// # Errors
    /// Those that make the socket unusable. Any other error costs only the one datagram.
    pub(super) fn send(&mut self, port: &Port, counters: &Counters) -> io::Result<Flushed> {
        while let Some(unsent) = self.slots.get(self.sent..self.filled)
            && let Some((to, _)) = unsent.first()
        {
            match self.send_by_path(port, unsent) {
                Ok(taken) => {
                    counters.batches_out.add(1);
                    counters.datagrams_out.add_len(taken);
                    let taken_bytes = unsent.iter().take(taken).map(|(_, datagram)| datagram.len());
                    counters.bytes_out.add_len(taken_bytes.sum());
                    self.sent += taken;
                    self.single = self.single.saturating_sub(taken);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    counters.send_blocked.add(1);
                    return Ok(Flushed::Blocked);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_transient(&error) => {
                    let row = row_length(unsent, self.single);
                    if row > 1 {
                        // An interface without checksum offload takes no rows, and may be on the path to some
                        // receivers only. For any other refused row, each of its datagrams is tried by
                        // itself.
                        self.single = if is_io_error(&error) { ROWS_AFTER } else { row };
                        continue;
                    }
                    counters.count_send_error(&error, is_too_long(&error));
                    tracing::debug!(%error, to = %to.route.remote, "a send failed");
                    self.sent += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Flushed::Dry)
    }

    /// Sends datagrams from the front of `unsent`; returns how many the kernel took, at least one.
    fn send_by_path(&self, port: &Port, unsent: &[(Envelope, BytesMut)]) -> io::Result<usize> {
        match (self.path, unsent.first()) {
            #[cfg(target_os = "linux")]
            (IoPath::Batched, _) => {
                let row_length = |unsent: &[_]| row_length(unsent, self.single);
                super::sys::send_batch(port.socket(), unsent, self.unsaid, row_length)
            }
            (_, Some((to, datagram))) => port.send(datagram, to.route.remote).map(|_| 1),
            (_, None) => Ok(0),
        }
    }

    #[cfg(test)]
    pub(super) fn unsent(&self) -> usize {
        self.filled - self.sent
    }
}

/// Maximum number of datagrams in a row, which every kernel that takes rows accepts (`UDP_SEGMENT`), and of
/// their bytes, which an IPv6 packet can hold.
const ROW_DATAGRAMS: usize = 64;
const ROW_BYTES: usize = 65_535 - 40 - 8;

/// Returns how many datagrams from the front of `unsent` can leave as one row, which the kernel splits. They
/// have the same receiver and mark, and each is as long as the first except the last, which may be shorter.
fn row_length(unsent: &[(Envelope, BytesMut)], single: usize) -> usize {
    let Some(((to, first), others)) = unsent.split_first() else { return 0 };
    if single > 0 {
        return 1;
    }
    let longest = ROW_DATAGRAMS.min(ROW_BYTES / first.len().max(1));
    let mut length = 1;
    for (other, datagram) in others.iter().take(longest.saturating_sub(1)) {
        if other != to || datagram.is_empty() || datagram.len() > first.len() {
            break;
        }
        length += 1;
        if datagram.len() < first.len() {
            break;
        }
    }
    length
}

/// Returns true for an error that concerns one datagram or one moment; false if the socket itself is broken.
fn is_transient(error: &io::Error) -> bool {
    #[cfg(unix)]
    if let Some(code) = error.raw_os_error() {
        return ![libc::EBADF, libc::ENOTSOCK, libc::EFAULT, libc::EOPNOTSUPP].contains(&code);
    }
    !matches!(error.kind(), io::ErrorKind::NotConnected | io::ErrorKind::InvalidInput)
}

fn is_io_error(error: &io::Error) -> bool {
    #[cfg(unix)]
    const CODE: Option<i32> = Some(libc::EIO);
    #[cfg(not(unix))]
    const CODE: Option<i32> = None;
    CODE.is_some() && error.raw_os_error() == CODE
}

/// True when the interface takes no datagram as long as that one.
fn is_too_long(error: &io::Error) -> bool {
    #[cfg(unix)]
    const CODE: i32 = libc::EMSGSIZE;
    // WSAEMSGSIZE.
    #[cfg(not(unix))]
    const CODE: i32 = 10_040;
    error.raw_os_error() == Some(CODE)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::base::Route;

    #[test]
    fn a_row_is_for_one_receiver_and_only_its_last_may_be_shorter() {
        let row = |lengths: &[(u16, usize)]| {
            let datagrams = lengths
                .iter()
                .map(|(port, length)| (Envelope::from(([127, 0, 0, 1], *port)), BytesMut::zeroed(*length)));
            row_length(&datagrams.collect::<Vec<_>>(), 0)
        };
        assert_eq!(row(&[]), 0);
        assert_eq!(row(&[(1, 9), (2, 9)]), 1, "another receiver");
        assert_eq!(row(&[(1, 9), (1, 9), (2, 9), (1, 9)]), 2);
        assert_eq!(row(&[(1, 9), (1, 9), (1, 8), (1, 8)]), 3, "a shorter one ends it");
        assert_eq!(row(&[(1, 9), (1, 10)]), 1, "a longer one begins another");
        assert_eq!(row(&[(1, 9), (1, 0)]), 1, "an empty one would be none");
        assert_eq!(row(&[(1, 0), (1, 0)]), 1);
        assert_eq!(row(&[(1, 9); 100]), ROW_DATAGRAMS);
        assert_eq!(row(&[(1, 9_000); 100]), 7, "all of it is one packet at first");
        assert_eq!(row(&[(1, 70_000); 2]), 1, "the kernel says what is wrong with it");
    }

    #[test]
    fn a_row_has_one_mark() {
        let marks = [Ecn::Ect0, Ecn::Ect0, Ecn::NotEct, Ecn::Ect0];
        let route = Route::from(([127, 0, 0, 1], 9));
        let datagrams = marks.map(|ecn| (Envelope { route, ecn }, BytesMut::zeroed(9)));
        assert_eq!([0, 2, 3].map(|at| row_length(&datagrams[at..], 0)), [2, 1, 1]);
    }

    #[test]
    fn what_concerns_the_path_or_the_moment_is_not_the_end_of_a_socket() {
        let moments = [
            libc::ENETUNREACH,
            libc::EHOSTUNREACH,
            libc::ENETDOWN,
            libc::ENOBUFS,
            libc::EPERM,
            libc::EMSGSIZE,
            libc::ECONNREFUSED,
            libc::EADDRNOTAVAIL,
        ];
        for code in moments {
            assert!(is_transient(&io::Error::from_raw_os_error(code)), "{code}");
        }
        for code in [libc::EBADF, libc::ENOTSOCK] {
            assert!(!is_transient(&io::Error::from_raw_os_error(code)), "{code}");
        }
    }
}
