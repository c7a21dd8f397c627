//! [`SendBatch`]: datagrams to the kernel, one batch at a time.

use std::io;

use bytes::BytesMut;

use super::{BATCH, is_transient};
use crate::base::{Ecn, Envelope};
use crate::net::port::Port;
use crate::net::{Counters, IoPath};

/// How far a [`SendBatch`] was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) enum Flushed {
    /// Everything is sent.
    Dry,
    /// The socket's buffer is full; the unsent datagrams are kept.
    Blocked,
}

/// Sends one batch at a time, and keeps the datagrams that the socket has no room for.
pub(in crate::net) struct SendBatch {
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
    pub(in crate::net) fn new(port: &Port, path: IoPath) -> Self {
        let nowhere = Envelope::from(([0, 0, 0, 0], 0));
        let single = if path == IoPath::Batched && port.can_split() { 0 } else { ALL };
        let unsaid = if path == IoPath::Batched { port.mark_sent() } else { None };
        Self { path, unsaid, slots: vec![(nowhere, BytesMut::new()); BATCH], filled: 0, sent: 0, single }
    }

    /// Fills the slots, which must all be sent, from `next`. Returns true if they are full, so that there may
    /// be more.
    pub(in crate::net) fn fill(&mut self, mut next: impl FnMut(&mut BytesMut) -> Option<Envelope>) -> bool {
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
    pub(in crate::net) fn send(&mut self, port: &Port, counters: &Counters) -> io::Result<Flushed> {
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
                crate::net::sys::send_batch(port.socket(), unsent, self.unsaid, row_length)
            }
            (_, Some((to, datagram))) => port.send(datagram, to.route.remote).map(|_| 1),
            (_, None) => Ok(0),
        }
    }

    #[cfg(test)]
    pub(in crate::net) fn unsent(&self) -> usize {
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
}
