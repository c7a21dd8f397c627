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
    default_mark: Option<Ecn>,
    slots: Vec<(Envelope, BytesMut)>,
    /// Number of slots in use.
    filled: usize,
    /// Number of slots already sent, from the first on.
    sent: usize,
    rows: Rows,
}

/// Whether datagrams for one receiver leave in rows, which the kernel splits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rows {
    /// The kernel cannot split them.
    Never,
    /// Not before this many more datagrams have left, one by one.
    After(usize),
    Now,
}

/// After an interface has refused rows in general, a row is tried again after this number of datagrams.
const ROWS_AFTER: usize = 4_096;

impl SendBatch {
    /// Creates a batch for `port`. If `path` is [`IoPath::Batched`] and the kernel can do it, sent datagrams
    /// are marked.
    pub(in crate::net) fn new(port: &Port, path: IoPath) -> Self {
        let nowhere = Envelope::from(([0, 0, 0, 0], 0));
        let slots = vec![(nowhere, BytesMut::new()); BATCH];
        let rows = if path == IoPath::Batched && port.can_split() { Rows::Now } else { Rows::Never };
        let default_mark = if path == IoPath::Batched { port.mark_sent() } else { None };
        Self { path, default_mark, slots, filled: 0, sent: 0, rows }
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
        #[cfg(target_os = "linux")]
        if self.path == IoPath::Batched {
            let mark = self.default_mark;
            return self.send_by(counters, |unsent, rows| {
                crate::net::sys::send_batch(port.socket(), unsent, mark, |unsent| row_length(unsent, rows))
            });
        }
        self.send_by(counters, |unsent, _| match unsent.first() {
            Some((to, datagram)) => port.send(datagram, to.route.remote).map(|_| 1),
            None => Ok(0),
        })
    }

    /// Behaves as if all datagrams had been sent, and returns their number.
    #[cfg(test)]
    pub(in crate::net) fn take(&mut self) -> usize {
        let taken = self.filled - self.sent;
        self.sent = self.filled;
        taken
    }

    /// Like [`Self::send`], by calls to `kernel`, which sends datagrams from the front of a list and returns
    /// how many it took, at least one.
    fn send_by(
        &mut self,
        counters: &Counters,
        mut kernel: impl FnMut(&[(Envelope, BytesMut)], Rows) -> io::Result<usize>,
    ) -> io::Result<Flushed> {
        while let Some(unsent) = self.slots.get(self.sent..self.filled)
            && let Some((to, _)) = unsent.first()
        {
            match kernel(unsent, self.rows) {
                Ok(taken) => {
                    counters.batches_out.add(1);
                    counters.datagrams_out.add_len(taken);
                    let taken_bytes = unsent.iter().take(taken).map(|(_, datagram)| datagram.len());
                    counters.bytes_out.add_len(taken_bytes.sum());
                    self.sent += taken;
                    self.rows.on_sent(taken);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    counters.send_blocked.add(1);
                    return Ok(Flushed::Blocked);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_transient(&error) => {
                    let row = row_length(unsent, self.rows);
                    if row > 1 {
                        // An interface without checksum offload takes no rows, and may be on the path to some
                        // receivers only. For any other refused row, each of its datagrams is tried by
                        // itself.
                        self.rows = Rows::After(if is_io_error(&error) { ROWS_AFTER } else { row });
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
}

impl Rows {
    /// Notes that datagrams have left.
    fn on_sent(&mut self, datagrams: usize) {
        if let Self::After(left) = *self {
            *self = if datagrams < left { Self::After(left - datagrams) } else { Self::Now };
        }
    }
}

/// Maximum number of datagrams in a row, which every kernel that takes rows accepts (`UDP_SEGMENT`), and of
/// their bytes, which an IPv6 packet can hold.
const ROW_DATAGRAMS: usize = 64;
const ROW_BYTES: usize = 65_535 - 40 - 8;

/// Returns how many datagrams from the front of `unsent` can leave as one row, which the kernel splits. They
/// have the same receiver and mark, and each is as long as the first except the last, which may be shorter.
fn row_length(unsent: &[(Envelope, BytesMut)], rows: Rows) -> usize {
    let Some(((to, first), others)) = unsent.split_first() else { return 0 };
    if rows != Rows::Now {
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
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    use super::*;
    use crate::base::Route;

    const TO: Envelope = Envelope {
        route: Route { remote: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9), local: None },
        ecn: Ecn::Ect0,
    };

    /// A batch of datagrams of one byte, their numbers.
    fn batch(datagrams: u8, rows: Rows) -> SendBatch {
        let slots = vec![(TO, BytesMut::new()); BATCH];
        let mut batch =
            SendBatch { path: IoPath::Batched, default_mark: None, slots, filled: 0, sent: 0, rows };
        let mut numbers = 0..datagrams;
        batch.fill(|datagram| {
            datagram.extend(numbers.next().map(|number| [number])?);
            Some(TO)
        });
        batch
    }

    /// What a scripted kernel saw: the number of each datagram at the front, and whether it was asked for
    /// rows.
    type Calls = Vec<(u8, bool)>;

    /// Sends by a kernel that gives these answers, then takes everything.
    fn send(
        batch: &mut SendBatch,
        counters: &Counters,
        answers: &[Result<usize, i32>],
    ) -> (io::Result<Flushed>, Calls) {
        let (mut answers, mut calls) = (answers.iter(), Calls::new());
        let flushed = batch.send_by(counters, |unsent, rows| {
            calls.push((unsent[0].1[0], rows == Rows::Now));
            let answer = answers.next().copied().unwrap_or(Ok(unsent.len()));
            answer.map_err(io::Error::from_raw_os_error)
        });
        (flushed, calls)
    }

    #[test]
    fn what_the_kernel_has_no_room_for_is_kept_in_its_order() {
        let (mut batch, counters) = (batch(9, Rows::Now), Counters::default());
        let script = [Ok(3), Err(libc::EINTR), Ok(1), Err(libc::EAGAIN)];
        let (flushed, calls) = send(&mut batch, &counters, &script);
        assert_eq!(flushed.unwrap(), Flushed::Blocked);
        assert_eq!(calls, [(0, true), (3, true), (3, true), (4, true)]);
        let counted = |counters: &Counters| {
            [counters.datagrams_out.get(), counters.bytes_out.get(), counters.send_blocked.get()]
        };
        assert_eq!(counted(&counters), [4, 4, 1]);
        let (flushed, calls) = send(&mut batch, &counters, &[]);
        assert_eq!((flushed.unwrap(), calls), (Flushed::Dry, vec![(4, true)]));
        assert_eq!((counted(&counters), counters.send_errors.get()), ([9, 9, 1], 0));
    }

    #[test]
    fn a_refused_datagram_costs_only_itself() {
        let (mut batch, counters) = (batch(4, Rows::Never), Counters::default());
        let script = [Ok(1), Err(libc::ENETUNREACH), Err(libc::EMSGSIZE)];
        let (flushed, calls) = send(&mut batch, &counters, &script);
        assert_eq!((flushed.unwrap(), calls), (Flushed::Dry, [0, 1, 2, 3].map(|n| (n, false)).to_vec()));
        let counted = [&counters.datagrams_out, &counters.send_errors, &counters.too_long_to_send];
        assert_eq!(counted.map(|counter| counter.get()), [2, 1, 1]);
    }

    #[test]
    fn a_refused_row_is_sent_one_by_one_and_the_next_one_as_a_row() {
        let (mut batch, counters) = (batch(3, Rows::Now), Counters::default());
        let (flushed, calls) = send(&mut batch, &counters, &[Err(libc::EINVAL), Ok(1), Ok(1), Ok(1)]);
        assert_eq!(flushed.unwrap(), Flushed::Dry);
        assert_eq!(calls, [(0, true), (0, false), (1, false), (2, false)]);
        assert_eq!((batch.rows, counters.send_errors.get()), (Rows::Now, 0));
    }

    #[test]
    fn an_interface_that_takes_no_rows_is_asked_again_after_many_datagrams() {
        let (mut batch, counters) = (batch(64, Rows::Now), Counters::default());
        let (flushed, calls) = send(&mut batch, &counters, &[Err(libc::EIO)]);
        assert_eq!((flushed.unwrap(), calls), (Flushed::Dry, vec![(0, true), (0, false)]));
        assert_eq!(batch.rows, Rows::After(ROWS_AFTER - 64));
        let mut rows = batch.rows;
        rows.on_sent(ROWS_AFTER - 65);
        assert_eq!(rows, Rows::After(1));
        rows.on_sent(9);
        assert_eq!(rows, Rows::Now);
    }

    #[test]
    fn a_broken_socket_is_an_error() {
        let (mut batch, counters) = (batch(2, Rows::Now), Counters::default());
        let (flushed, _) = send(&mut batch, &counters, &[Err(libc::EBADF)]);
        assert_eq!(flushed.unwrap_err().raw_os_error(), Some(libc::EBADF));
    }

    #[test]
    fn a_row_is_for_one_receiver_and_only_its_last_may_be_shorter() {
        let row = |lengths: &[(u16, usize)]| {
            let datagrams = lengths
                .iter()
                .map(|(port, length)| (Envelope::from(([127, 0, 0, 1], *port)), BytesMut::zeroed(*length)));
            row_length(&datagrams.collect::<Vec<_>>(), Rows::Now)
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
        assert_eq!([0, 2, 3].map(|at| row_length(&datagrams[at..], Rows::Now)), [2, 1, 1]);
    }
}
