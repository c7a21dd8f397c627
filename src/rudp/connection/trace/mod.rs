//! What a connection tells a trace: the port, and its events as plain values.
//!
//! A trace shows why a packet was late: what left in which packet, what arrived, what was taken for
//! lost and when, and what the estimates were. It never sees payloads, tokens or keys. The words are
//! those of qlog where it has one; `protocol-spec/trace.md` says how they are written down.
//!
//! `hooks` is where a connection calls it. Without a trace each call costs one branch.

mod hooks;

use std::fmt;
use std::time::Duration;

use smallvec::SmallVec;

pub(super) use self::hooks::Tracing;
use super::error::{Closed, PacketDropped};
use super::marks::EcnState;
use crate::base::{ConnectionId, Ecn, PacketNumber, StreamId, Timestamp};
use crate::wire::Delivery;

/// Takes the events of one connection, in the order of their times. Dropped with the connection.
///
/// It is called while packets are handled: what it does not do at once is not done.
pub trait Trace: Send + Sync {
    /// Something happened at `now`.
    fn event(&mut self, now: Timestamp, event: &TraceEvent<'_>);
}

/// Decides which connections have a trace. Asked once for each new one.
pub trait Tracer: fmt::Debug + Send + Sync {
    /// The trace of a new connection, or `None` for a connection without.
    fn trace(&self, connection: ConnectionId, vantage: Vantage) -> Option<Box<dyn Trace>>;
}

/// Whose side of a connection a trace tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vantage {
    /// The client's.
    Client,
    /// The server's.
    Server,
}

/// What happened. Numbers of packets sent and received are apart: each direction has its own.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum TraceEvent<'a> {
    /// The handshake is over at this end. Told, with its own earlier time, before the first of the
    /// others: a connection that nothing happens to tells nothing.
    Started,
    /// A packet left.
    PacketSent {
        /// Its number.
        number: PacketNumber,
        /// UDP payload.
        bytes: usize,
        /// It asks for an ack.
        eliciting: bool,
        /// What it carries.
        frames: &'a [TracedFrame],
    },
    /// A packet opened and was taken.
    PacketReceived {
        /// Its number.
        number: PacketNumber,
        /// UDP payload.
        bytes: usize,
        /// The mark that it came with.
        ecn: Ecn,
        /// What it carries.
        frames: &'a [TracedFrame],
    },
    /// A packet came and had no effect.
    PacketDropped {
        /// UDP payload.
        bytes: usize,
        /// Why.
        why: PacketDropped,
    },
    /// A packet of this end is taken for lost; what it carried is queued again.
    PacketLost {
        /// Its number.
        number: PacketNumber,
    },
    /// A packet that had been taken for lost was acked after all.
    LossWasSpurious {
        /// Its number.
        number: PacketNumber,
    },
    /// A lost packet of the peer was put together from a REPAIR frame.
    PacketRepaired {
        /// Its number.
        number: PacketNumber,
        /// The packet that completed it.
        by: PacketNumber,
    },
    /// The estimates have changed.
    MetricsUpdated(Metrics),
    /// Packets that were not acked are looked at again then, for losses; `None` when none wait.
    LossTimerUpdated {
        /// When.
        due: Option<Timestamp>,
    },
    /// No ack came in time: the newest packets are probed for.
    Probe {
        /// Probes since the last ack, with this one.
        count: u32,
    },
    /// Datagrams to the peer have so many bytes at most from now on.
    DatagramSizeUpdated {
        /// UDP payload.
        bytes: usize,
    },
    /// More is known of whether the path carries marked packets.
    EcnStateUpdated {
        /// What is known.
        state: EcnState,
    },
    /// Both ends' keys were renewed.
    KeyUpdated {
        /// The peer was first; otherwise this end.
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
    /// The latest sample, less what the peer held its ack back.
    pub latest_rtt: Duration,
    /// Mean deviation of the samples.
    pub rtt_variance: Duration,
    /// Smallest sample; `None` before the first.
    pub min_rtt: Option<Duration>,
    /// Bytes that may be under way.
    pub congestion_window: usize,
    /// Bytes under way.
    pub bytes_in_flight: usize,
    /// Bytes of messages that wait to be sent or acked.
    pub queued_bytes: usize,
    /// Probes since the last ack.
    pub probes: u32,
}

/// A frame without what it carries.
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
        /// Runs of acked numbers, first and last, the newest run first.
        runs: SmallVec<[(u64, u64); 4]>,
        /// How long the largest was held.
        held: Duration,
        /// Numbers of packets that were repaired, the newest first.
        repaired: SmallVec<[u64; 4]>,
    },
    /// CE_COUNT.
    CeCount {
        /// How many packets arrived marked CE.
        count: u64,
    },
    /// REPAIR.
    Repair {
        /// Numbers of the packets it covers.
        packets: SmallVec<[u64; 4]>,
        /// Bytes of the symbol.
        bytes: usize,
    },
    /// PADDING.
    Padding {
        /// Zeros after its type.
        bytes: usize,
    },
    /// MESSAGE.
    Message {
        /// Its stream and number; `None` for unreliable ones.
        place: Option<TracedPlace>,
        /// How it is delivered.
        delivery: Delivery,
        /// Bytes of the payload.
        bytes: usize,
    },
    /// FRAGMENT.
    Fragment {
        /// The message's stream and number.
        place: TracedPlace,
        /// How the message is delivered.
        delivery: Delivery,
        /// Which of them, from 0.
        index: u32,
        /// How many the message has.
        count: u32,
        /// Bytes of this one.
        bytes: usize,
    },
}

/// Where a message belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TracedPlace {
    /// The stream.
    pub stream: StreamId,
    /// The number in its space: whole in packets sent, its low 8 or 32 bits in packets received.
    pub number: u64,
}
