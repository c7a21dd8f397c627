//! [`ConnectionConfig`]: what one end configures for its connections.

use std::time::Duration;

use crate::wire::{MAX_RECEIVED_DATAGRAM_BYTES, TransportParameters};

/// Maximum number of streams open at a client; it closes the connection of a server that opens more.
// spec: LIM-1
pub const MAX_STREAMS: usize = 1_024;

/// Limits and times of a connection. A value out of range is replaced by the nearest in it. Spec: limits.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionConfig {
    /// Silence after which the connection ends, 1 s to 600 s; the smaller of both ends' values applies.
    /// Default 10 s.
    pub idle_timeout: Duration,
    /// Silence after which this end asks for an ack, 100 ms to a third of the idle timeout. A server waits a
    /// quarter longer, for its client to ask. Default 3 s. Spec: CON-4.
    pub keepalive: Duration,
    /// Longest time that an ack waits for a packet to ride on, 0 to 65 ms. Default 40 ms.
    pub max_ack_delay: Duration,
    /// Largest datagram that this end's link carries, 1,200 to 9,216 bytes of UDP payload. This end sends
    /// none larger and announces the limit to the peer. Default 1,452, Ethernet's. Spec: HSK-9.
    pub link_datagram_bytes: usize,
    /// Largest datagram that this end sends once a probe has shown that the path carries it, 1,200 to 9,216
    /// bytes of UDP payload; 1,200 disables probes. On a socket that permits IP fragmentation it must be
    /// 1,200, since probes would arrive in pieces and prove nothing: see [`ConnectionConfig::on_socket`].
    /// Default 9,216. Spec: MTU-1.
    pub max_datagram_bytes: usize,
    /// Largest message that this end accepts, 1,200 to 1,048,576 bytes. Default 1,048,576.
    pub max_message_bytes: usize,
    /// Bytes of incomplete or out-of-order messages that this end buffers, 65,536 to 2^30. The connection of
    /// a peer that sends more is closed. Default 4 MiB. Spec: REL-12.
    pub receive_buffer_bytes: usize,
    /// Bytes of reliable messages that wait to be sent or acked, any number; each message counts 64 bytes
    /// more than its payload. When the buffer is full, `send` returns
    /// [`SendError::WouldBlock`](super::SendError::WouldBlock); a message that would not fit an empty buffer
    /// fails with [`SendError::TooLarge`](super::SendError::TooLarge). Default 4 MiB.
    pub send_buffer_bytes: usize,
    /// Bytes of unreliable and sequenced messages that wait to be sent, any number, counted in the same way.
    /// When full, the oldest are dropped. Default 256 KiB.
    pub unreliable_buffer_bytes: usize,
    /// Bytes per second that REPAIR frames may use while packets are being lost, 0 to 2^32 − 1; 0 disables
    /// them. Default 64 KiB. Spec: REP-4.
    pub repair_bytes_per_second: u64,
    /// How the bytes in flight are limited. Default [`CongestionControl::Delay`]. Spec: REL-8.
    pub congestion_control: CongestionControl,
    /// Packets after which this end renews the keys. Default 2^22, which no test can wait for. Spec: KEY-5.
    #[cfg(any(test, feature = "testing"))]
    pub renew_keys_after: u64,
}

/// How a connection determines the capacity of its path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CongestionControl {
    /// Keeps the path's queue short, and treats occasional losses as random.
    #[default]
    Delay,
    /// RFC 9002: grows until packets are lost.
    NewReno,
}

/// Smallest datagram that every path must carry, and the largest sent until a path has been probed.
pub const BASE_DATAGRAM_BYTES: usize = 1_200;

/// What an Ethernet frame of 1,500 bytes leaves after IPv6 and UDP headers. IPv4 leaves 20 bytes more, which
/// a single size gives up so that the first probe fits either.
pub const ETHERNET_DATAGRAM_BYTES: usize = 1_452;

/// Largest datagram that is ever sent or received.
const LARGEST_DATAGRAM_BYTES: usize = MAX_RECEIVED_DATAGRAM_BYTES as usize;

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            idle_timeout: Duration::from_secs(10),
            keepalive: Duration::from_secs(3),
            max_ack_delay: Duration::from_millis(40),
            link_datagram_bytes: ETHERNET_DATAGRAM_BYTES,
            max_datagram_bytes: LARGEST_DATAGRAM_BYTES,
            max_message_bytes: 1 << 20,
            receive_buffer_bytes: 4 << 20,
            send_buffer_bytes: 4 << 20,
            unreliable_buffer_bytes: 256 << 10,
            repair_bytes_per_second: 64 << 10,
            congestion_control: CongestionControl::default(),
            #[cfg(any(test, feature = "testing"))]
            renew_keys_after: super::keys::RENEW_AFTER_PACKETS,
        }
    }
}

impl ConnectionConfig {
    /// Adapts to a socket: unless it forbids IP fragmentation, no datagram is larger than what every path
    /// carries.
    pub fn on_socket(self, forbids_fragments: bool) -> Self {
        let max = if forbids_fragments { self.max_datagram_bytes } else { BASE_DATAGRAM_BYTES };
        Self { max_datagram_bytes: max, ..self }
    }

    /// Lifts the limit of this end's link: every size that the peer announces for its own link is tried.
    #[must_use]
    pub fn on_any_link(self) -> Self {
        Self { link_datagram_bytes: LARGEST_DATAGRAM_BYTES, ..self }
    }

    /// Replaces values out of range with those announced to the peer, which relies on them.
    pub(super) fn in_range(self) -> Self {
        let told = self.parameters();
        let link = told.max_datagram_bytes as usize;
        Self {
            idle_timeout: told.idle_timeout(),
            max_ack_delay: told.max_ack_delay(),
            link_datagram_bytes: link,
            max_datagram_bytes: self.max_datagram_bytes.clamp(BASE_DATAGRAM_BYTES, link),
            max_message_bytes: told.max_message_bytes as usize,
            receive_buffer_bytes: told.receive_buffer_bytes as usize,
            ..self
        }
    }

    /// Returns the parameters for the handshake; values out of range become the nearest valid ones.
    pub fn parameters(&self) -> TransportParameters {
        TransportParameters {
            idle_timeout_ms: clamp(self.idle_timeout.as_millis(), 1_000, 600_000),
            max_ack_delay_ms: clamp(self.max_ack_delay.as_millis(), 0, 65),
            max_datagram_bytes: clamp(self.link_datagram_bytes as u128, 1_200, MAX_RECEIVED_DATAGRAM_BYTES),
            max_message_bytes: clamp(self.max_message_bytes as u128, 1_200, 1 << 20),
            receive_buffer_bytes: clamp(self.receive_buffer_bytes as u128, 1 << 16, 1 << 30),
        }
    }
}

fn clamp(value: u128, min: u32, max: u32) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX).clamp(min, max)
}
