//! What a socket has done, for the operator: relaxed counters, read while the loop runs.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows, written by one task and read by any.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(super) fn add_len(&self, more: usize) {
        self.add(u64::try_from(more).unwrap_or(u64::MAX));
    }
}

/// Totals of one [`Socket`](super::Socket) since it was bound.
#[derive(Debug, Default)]
pub struct Counters {
    /// Datagrams received and handed up.
    pub datagrams_in: Counter,
    /// Their bytes, without UDP and IP headers.
    pub bytes_in: Counter,
    /// Batches that they came in.
    pub batches_in: Counter,
    /// Datagrams that the kernel took.
    pub datagrams_out: Counter,
    /// Their bytes, without UDP and IP headers.
    pub bytes_out: Counter,
    /// Batches that they left in.
    pub batches_out: Counter,
    /// Received datagrams dropped for being longer than
    /// [`MAX_DATAGRAM_BYTES`](super::Socket::MAX_DATAGRAM_BYTES).
    pub oversized: Counter,
    /// Errors on receiving that say nothing about the socket, such as a port unreachable.
    pub receive_errors: Counter,
    /// Datagrams dropped because the system refused to send them: no route, no buffers, a firewall,
    /// longer than the interface's MTU. To the protocol each is a loss.
    pub send_errors: Counter,
    /// Datagrams to senders that had proved nothing, dropped because too much waited in the socket's buffer.
    pub answers_dropped: Counter,
    /// Times that sending had to wait for room in the socket's buffer.
    pub send_blocked: Counter,
}
