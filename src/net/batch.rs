//! Datagrams on their way through the kernel: an [`Inbox`] and an [`Outbox`] of one batch each.
//!
//! Their slots are made once. A received datagram is copied out of its slot into a buffer of its own
//! size: at a game's datagram sizes that costs less than a system call by two orders, and a message
//! that waits for an earlier one pins its own bytes alone, not a whole block.

use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;

use super::port::Port;
use super::{Counters, IoPath, Socket};

/// Most datagrams of one batch.
pub(super) const BATCH: usize = 64;

/// One byte more than the longest datagram, so that a longer one shows.
const SLOT_BYTES: usize = Socket::MAX_DATAGRAM_BYTES + 1;

/// Length and sender of a datagram in its slot.
pub(super) type Arrival = (usize, SocketAddr);

/// Receives one batch at a time.
pub(super) struct Inbox {
    slots: Box<[u8]>,
    arrivals: Vec<Arrival>,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self { slots: vec![0; BATCH * SLOT_BYTES].into_boxed_slice(), arrivals: Vec::with_capacity(BATCH) }
    }

    /// Takes what has arrived, a batch at most. True when more may be waiting.
    ///
    /// # Errors
    /// Those that say that the socket is of no more use.
    pub(super) fn receive(&mut self, port: &Port, path: IoPath, counters: &Counters) -> io::Result<bool> {
        self.arrivals.clear();
        match self.receive_by(port, path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if is_transient(&error) => {
                counters.receive_errors.add(1);
                tracing::debug!(%error, "a receive failed");
                return Ok(true);
            }
            Err(error) => return Err(error),
        }
        if !self.arrivals.is_empty() {
            counters.batches_in.add(1);
        }
        Ok(self.arrivals.len() == BATCH)
    }

    /// The received datagrams, in the order of their arrival.
    pub(super) fn drain<'a>(
        &'a mut self,
        counters: &'a Counters,
    ) -> impl Iterator<Item = (SocketAddr, BytesMut)> + 'a {
        let slots = self.slots.chunks_exact(SLOT_BYTES);
        self.arrivals.drain(..).zip(slots).filter_map(|((bytes, from), slot)| {
            if bytes > Socket::MAX_DATAGRAM_BYTES {
                counters.oversized.add(1);
                return None;
            }
            counters.datagrams_in.add(1);
            counters.bytes_in.add_len(bytes);
            slot.get(..bytes).map(|datagram| (from, BytesMut::from(datagram)))
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }

    fn receive_by(&mut self, port: &Port, path: IoPath) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if path == IoPath::Batched {
            let received = port.receive_by(|udp| {
                let slots = self.slots.chunks_exact_mut(SLOT_BYTES);
                super::sys::receive_batch(udp, slots, &mut self.arrivals)?;
                // Fewer than asked for: the socket is empty, which saves asking again. An arrival
                // after the call makes it readable again, because readiness comes by edges.
                if self.arrivals.len() < BATCH { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            if !is_missing(&received) {
                return received;
            }
        }
        let _ = path;
        for slot in self.slots.chunks_exact_mut(SLOT_BYTES) {
            match port.receive(slot) {
                Ok(arrival) => self.arrivals.push(arrival),
                // What has been received is handed up first; a real error will show again.
                Err(_) if !self.arrivals.is_empty() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// How far an [`Outbox`] got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flushed {
    /// Everything is sent.
    Dry,
    /// The socket's buffer is full; the unsent datagrams are kept.
    Blocked,
}

/// Sends one batch at a time, and keeps what the socket has no room for.
pub(super) struct Outbox {
    slots: Vec<(SocketAddr, BytesMut)>,
    /// Slots in use.
    filled: usize,
    /// Slots that are sent already, from the first one on.
    sent: usize,
}

impl Outbox {
    pub(super) fn new() -> Self {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Self { slots: vec![(nowhere, BytesMut::new()); BATCH], filled: 0, sent: 0 }
    }

    /// Fills the slots, which are all sent, from `next`. True when they are full: there may be more.
    pub(super) fn fill(&mut self, mut next: impl FnMut(&mut BytesMut) -> Option<SocketAddr>) -> bool {
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

    /// Sends what is in the slots.
    ///
    /// # Errors
    /// Those that say that the socket is of no more use. Any other costs the one datagram.
    pub(super) fn send(&mut self, port: &Port, path: IoPath, counters: &Counters) -> io::Result<Flushed> {
        while let Some(unsent) = self.slots.get(self.sent..self.filled)
            && !unsent.is_empty()
        {
            match send_by(port, path, unsent) {
                Ok(taken) => {
                    counters.batches_out.add(1);
                    counters.datagrams_out.add_len(taken);
                    let taken_bytes = unsent.iter().take(taken).map(|(_, datagram)| datagram.len());
                    counters.bytes_out.add_len(taken_bytes.sum());
                    self.sent += taken;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    counters.send_blocked.add(1);
                    return Ok(Flushed::Blocked);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_transient(&error) => {
                    counters.send_errors.add(1);
                    tracing::debug!(%error, to = ?unsent.first().map(|(to, _)| to), "a send failed");
                    self.sent += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Flushed::Dry)
    }

    #[cfg(test)]
    pub(super) fn unsent(&self) -> usize {
        self.filled - self.sent
    }
}

/// Sends datagrams from the front of `unsent`; how many the kernel took, at least one.
fn send_by(port: &Port, path: IoPath, unsent: &[(SocketAddr, BytesMut)]) -> io::Result<usize> {
    #[cfg(target_os = "linux")]
    if path == IoPath::Batched {
        let sent = super::sys::send_batch(port.socket(), unsent);
        if !is_missing(&sent) {
            return sent;
        }
    }
    let _ = path;
    match unsent.first() {
        Some((to, datagram)) => port.send(datagram, *to).map(|_| 1),
        None => Ok(0),
    }
}

/// True when the kernel does not have the call, as some sandboxes do not.
#[cfg(target_os = "linux")]
fn is_missing<T>(done: &io::Result<T>) -> bool {
    done.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::ENOSYS))
}

/// True for what concerns one datagram or one moment; false when the socket itself is broken.
fn is_transient(error: &io::Error) -> bool {
    #[cfg(unix)]
    if let Some(code) = error.raw_os_error() {
        return ![libc::EBADF, libc::ENOTSOCK, libc::EFAULT, libc::EOPNOTSUPP].contains(&code);
    }
    !matches!(error.kind(), io::ErrorKind::NotConnected | io::ErrorKind::InvalidInput)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

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
