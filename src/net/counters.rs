//! What a socket has done, for the operator: relaxed counters, read while the loop runs.

use crate::base::Counter;

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
