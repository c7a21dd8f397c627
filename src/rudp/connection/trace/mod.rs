//! What a connection reports to a trace: the interface, and its events as plain values.
//!
//! A trace shows why a packet was late: what was sent in which packet, what arrived, what was declared lost
//! and when, and what the estimates were. It never contains payloads, tokens or keys. The terms are those of
//! qlog where it has one; `protocol-spec/trace.md` describes how they are written.
//!
//! `hooks` contains the calls. Without a trace each call costs one branch.

mod hooks;

use std::fmt;
use std::time::Duration;

use smallvec::SmallVec;

pub(super) use self::hooks::Tracing;
use super::ecn::EcnState;
use super::error::{Closed, PacketDropped};
use crate::base::{ConnectionId, Ecn, PacketNumber, StreamId, Timestamp};
use crate::wire::Delivery;

/// Receives the events of one connection, in order of their times; dropped with the connection.
///
/// It is called while packets are handled, and has no other opportunity to act.
pub trait Trace: Send + Sync {
    /// Takes an event that happened at `now`.
    fn event(&mut self, now: Timestamp, event: &TraceEvent<'_>);
}

/// Decides which connections have a trace; called once for each new one.
pub trait Tracer: fmt::Debug + Send + Sync {
    /// Returns the trace of a new connection, or `None` for a connection without a trace.
    fn trace(&self, connection: ConnectionId, vantage: Vantage) -> Option<Box<dyn Trace>>;
}

/// The end of a connection that a trace describes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vantage {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// An event. Packets sent and packets received are numbered separately.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum TraceEvent<'a> {
    /// The handshake is over at this end. Reported, with its own earlier time, before the first of the other
    /// events; a connection to which nothing happens reports nothing.
    Started,
    /// A packet was sent.
    PacketSent {
        /// Its number.
        number: PacketNumber,
        /// Size as UDP payload.
        bytes: usize,
        /// Whether it asks for an ack.
        eliciting: bool,
        /// Its frames.
        frames: &'a [TracedFrame],
    },
    /// A packet opened and was accepted.
    PacketReceived {
        /// Its number.
        number: PacketNumber,
        /// Size as UDP payload.
        bytes: usize,
        /// The mark with which it arrived.
        ecn: Ecn,
        /// Its frames.
        frames: &'a [TracedFrame],
    },
    /// A packet arrived and was not accepted.
    PacketDropped {
        /// Size as UDP payload.
        bytes: usize,
        /// The reason.
        why: PacketDropped,
    },
    /// A packet of this end was declared lost; what it carried is queued again.
    PacketLost {
        /// Its number.
        number: PacketNumber,
    },
    /// A packet that had been declared lost was acked after all.
    LossWasSpurious {
        /// Its number.
        number: PacketNumber,
    },
    /// A lost packet of the peer was recovered from a REPAIR frame.
    PacketRepaired {
        /// Its number.
        number: PacketNumber,
        /// The packet that completed it.
        by: PacketNumber,
    },
    /// The estimates have changed.
    MetricsUpdated(Metrics),
    /// The time at which unacked packets are next checked for losses has changed.
    LossTimerUpdated {
        /// The new time; `None` when no packets wait for a check.
        due: Option<Timestamp>,
    },
    /// No ack arrived in time, so a probe for the newest packets is due.
    Probe {
        /// Probes since the last ack, including this one.
        count: u32,
    },
    /// The maximum size of datagrams to the peer has changed.
    DatagramSizeUpdated {
        /// The new size, as UDP payload.
        bytes: usize,
    },
    /// The knowledge of whether the path carries marked packets has changed.
    EcnStateUpdated {
        /// The new state.
        state: EcnState,
    },
    /// Both ends' keys were renewed.
    KeyUpdated {
        /// Whether the peer was first; otherwise this end was.
        by_peer: bool,
    },
    /// The connection has ended for its owner; CLOSE packets may follow.
    Closed(&'a Closed),
}

/// A connection's current estimates.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metrics {
    /// Smoothed round-trip time.
    pub smoothed_rtt: Duration,
    /// The latest sample without the peer's ack delay.
    pub latest_rtt: Duration,
    /// Mean deviation of the samples.
    pub rtt_variance: Duration,
    /// Smallest sample; `None` before the first.
    pub min_rtt: Option<Duration>,
    /// Bytes that may be in flight.
    pub congestion_window: usize,
    /// Bytes in flight.
    pub bytes_in_flight: usize,
    /// Bytes of messages that wait to be sent or acked.
    pub queued_bytes: usize,
    /// Probes since the last ack.
    pub probes: u32,
}

/// A frame without its content.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum TracedFrame {
    /// PING.
    Ping,
    /// PATH_CHALLENGE.
    PathChallenge,
    /// PATH_RESPONSE.
    PathResponse,
    /// CLOSE.
    Close {
        /// The code on the wire.
        code: u16,
    },
    /// ACK.
    Ack {
        /// Runs of acked numbers as first and last, newest run first.
        runs: SmallVec<[(u64, u64); 4]>,
        /// How long the ack of the largest number was delayed.
        held: Duration,
        /// Numbers of repaired packets, newest first.
        repaired: SmallVec<[u64; 4]>,
    },
    /// CE_COUNT.
    CeCount {
        /// Number of packets that arrived marked CE.
        count: u64,
    },
    /// REPAIR.
    Repair {
        /// Numbers of the packets that it covers.
        packets: SmallVec<[u64; 4]>,
        /// Bytes of the symbol.
        bytes: usize,
    },
    /// PADDING.
    Padding {
        /// Zeros after the frame's type.
        bytes: usize,
    },
    /// MESSAGE.
    Message {
        /// Its stream and number; `None` for an unreliable message.
        place: Option<TracedPlace>,
        /// Its delivery mode.
        delivery: Delivery,
        /// Bytes of the payload.
        bytes: usize,
    },
    /// FRAGMENT.
    Fragment {
        /// The message's stream and number.
        place: TracedPlace,
        /// The message's delivery mode.
        delivery: Delivery,
        /// Index of this fragment, from 0.
        index: u32,
        /// Number of the message's fragments.
        count: u32,
        /// Payload bytes of this fragment.
        bytes: usize,
    },
}

/// The stream and number of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TracedPlace {
    /// The stream.
    pub stream: StreamId,
    /// The number in its space: complete in packets sent, its low 8 or 32 bits in packets received.
    pub number: u64,
}
