//! [`Connection`]: one peer, from the end of the handshake to the close.
//!
//! | file | contents |
//! |---|---|
//! | `receive` | opens packets, processes frames, delivers messages |
//! | `feedback` | the peer's feedback on this end's packets |
//! | `transmit` | packs frames into packets and seals them |
//! | `outbox` | messages that wait to be sent, and their budgets |
//! | `stream/` | numbering, order and fragments: both sides of a stream |
//! | `acks` | which packets arrived, and when to acknowledge them |
//! | `sent/` | packets in flight: acks and loss |
//! | `datagram_size` | how large a datagram the path carries |
//! | `repair/` | REPAIR frames: lost packets recovered without a round trip |
//! | `rtt` | round-trip time |
//! | `controller/` | congestion control: bytes in flight, and how fast they leave |
//! | `loss` | the share of packets lost |
//! | `ecn` | congestion reported by marks |
//! | `keys` | key phases |
//! | `path` | the peer's address, and how it changes |
//! | `permit` | whether data may leave now |
//! | `random` | random draws |
//! | `prefetch` | memory fetched before it is needed |
//! | `recovery` | what is done about losses |
//! | `probes` | asking for an ack, in time, where no other packet does |
//! | `timers` | idle, keepalive and rest timers |
//! | `closing` | CLOSE, until the peer confirms it |
//! | `trace/` | what is reported to a trace |

mod acks;
#[cfg(any(test, fuzzing))]
mod audit;
mod closing;
mod config;
mod controller;
mod datagram_size;
mod ecn;
mod error;
mod feedback;
mod keys;
mod loss;
mod outbox;
mod path;
mod permit;
mod prefetch;
mod probes;
mod random;
mod receive;
mod recovery;
mod repair;
mod rtt;
mod sent;
mod stream;
mod timers;
mod trace;
mod transmit;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;

pub use config::{BASE_DATAGRAM_BYTES, CongestionControl, ConnectionConfig, MAX_STREAMS};
pub use ecn::EcnState;
pub use error::{Closed, KeyLimit, PacketDropped, ProtocolViolation, SendError, Sent};
pub use trace::{Metrics, Trace, TraceEvent, TracedFrame, TracedPlace, Tracer, Vantage};

use self::acks::AckTracker;
use self::closing::{Closing, Repeats};
use self::controller::Congestion;
use self::datagram_size::DatagramSize;
use self::ecn::{CeCounter, Marking};
use self::keys::KeyPhases;
use self::outbox::{MAX_WHOLE_BYTES, Outbox};
use self::path::Paths;
use self::probes::Probes;
use self::random::Randomness;
use self::repair::{RepairDecoder, RepairEncoder};
use self::rtt::RttEstimator;
use self::sent::SentPackets;
use self::stream::{ReceiveBuffer, ReceiveStream};
use self::timers::Timers;
use self::trace::Tracing;
use super::{MemoryBudget, MemoryBudgets, Payload};
use crate::base::{ConnectionId, PacketNumber, Route, StreamId, Timestamp, VecMap};
use crate::secure::{PacketKeys, ReplayWindow};
use crate::wire::frame::{Close, MAX_CLOSE_REASON_BYTES};
use crate::wire::{CloseCode, Delivery, TransportParameters};

/// Which end of the connection this is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// The client: its packets carry the connection's id, and the peer opens streams.
    Client {
        /// The id that the server chose.
        id: ConnectionId,
    },
    /// The server: its packets carry no id, and only this end opens streams.
    Server,
}

/// An event that a connection reports to its owner.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The peer's first packet opened, so it holds the keys.
    Established,
    /// A message arrived.
    Message {
        /// The message's stream; `None` for unreliable messages, which belong to no stream.
        stream: Option<StreamId>,
        /// The message's delivery mode.
        delivery: Delivery,
        /// The message's content.
        payload: Bytes,
    },
    /// The client has proved another address of its own, to which everything goes from now on. Only a server's
    /// peer moves.
    AddressChanged(SocketAddr),
    /// The connection has ended; reported once, as the last event.
    Closed(Closed),
}

/// Statistics of a connection, for people and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sealed packets sent.
    pub packets_sent: u64,
    /// Bytes of these packets, as UDP payload.
    pub bytes_sent: u64,
    /// Packets received that opened.
    pub packets_received: u64,
    /// Bytes of these packets.
    pub bytes_received: u64,
    /// Packets that the peer has sent, judged by the highest number received. Slightly too high, since the
    /// peer skips about one number in a thousand.
    pub packets_sent_by_peer: u64,
    /// Packets that were not accepted, for whichever reason of [`PacketDropped`].
    pub packets_dropped: u64,
    /// Packets declared lost.
    pub packets_lost: u64,
    /// Packets of the peer that arrived marked CE.
    pub ce_received: u64,
    /// Packets of this end that arrived marked CE, as reported by the peer.
    pub ce_told: u64,
    /// REPAIR frames sent.
    pub repairs_sent: u64,
    /// Lost packets of the peer whose messages were repaired.
    pub packets_repaired: u64,
    /// Number of times that a probe was due.
    pub probes: u64,
    /// Unreliable and sequenced messages dropped for lack of room in the send queue.
    pub messages_shed: u64,
    /// Changes of the peer's address.
    pub address_changes: u64,
    /// Largest datagram, as UDP payload, that this end sends now: 1,200 bytes until a probe has shown that
    /// the path carries more. Spec: MTU-1.
    pub datagram_bytes: u64,
}

/// The counters of [`Stats`] that a connection keeps itself; the others are derived from its parts.
#[derive(Debug, Default)]
struct Counted {
    packets_sent: u64,
    bytes_sent: u64,
    packets_received: u64,
    bytes_received: u64,
    packets_dropped: u64,
    packets_lost: u64,
    repairs_sent: u64,
    packets_repaired: u64,
    probes: u64,
    address_changes: u64,
}

/// A sans-IO connection. See the [module](super) for the calling contract.
///
/// The fields are laid out in the order in which a delivery uses them. On a server with thousands of
/// connections each of them is out of the cache, and every cache line costs a miss.
#[repr(C)]
pub struct Connection {
    // Queueing a message.
    state: State,
    outbox: Outbox,

    // Sending a packet.
    sent: SentPackets,
    congestion: Congestion,
    /// Until when the pacer holds data back.
    paced_until: Option<Timestamp>,
    /// The next packet number to skip.
    next_skip: PacketNumber,
    trace: Option<Box<Tracing>>,
    events: VecDeque<Event>,
    timers: Timers,
    probes: Probes,
    /// Packets sent since the last that asks for an ack.
    quiet_packets: u32,
    role: Role,
    rtt: RttEstimator,
    repair_encoder: RepairEncoder,
    paths: Paths,
    marking: Marking,
    ce_counter: CeCounter,
    datagram_size: DatagramSize,
    counted: Counted,
    keys: KeyPhases,

    // Receiving a packet.
    acks: AckTracker,
    replay: ReplayWindow,
    /// Largest number of a packet that carried an ack; acks in older packets are ignored.
    newest_ack_in: Option<u64>,
    /// Largest number of a packet that opened but was dropped.
    newest_dropped: Option<PacketNumber>,
    repair_decoder: RepairDecoder,
    receive_streams: VecMap<StreamId, ReceiveStream>,
    /// Streams with this id or a higher one were never opened; lower ones that are not open are finished.
    opened_below: u32,
    /// The newest ack named packets of a former path, so marks reported with it may belong to that path.
    former_acked: bool,
    /// A packet of the peer has opened.
    is_established: bool,
    receive_buffer: ReceiveBuffer,

    // Rarely changed.
    max_message_bytes: usize,
    peer: TransportParameters,
    random: Randomness,
}

#[derive(Debug)]
enum State {
    Open,
    /// This end repeats CLOSE until the peer confirms it or the time for that is over.
    Closing(Box<Closing>),
    /// Nothing is sent any more.
    Closed,
}

impl Connection {
    /// Creates a connection whose handshake has just ended with `keys`. `peer` holds the parameters that the
    /// other end announced, and `route` leads to it; a client may move, a server stays. Stream 0 is open.
    pub fn new(
        now: Timestamp,
        role: Role,
        route: Route,
        keys: PacketKeys,
        peer: TransportParameters,
        config: ConnectionConfig,
        rng: StdRng,
    ) -> Self {
        let config = config.in_range();
        let max_datagram = config.max_datagram_bytes.min(peer.max_datagram_bytes as usize);
        let rtt = RttEstimator::new();
        let (control, ack_delay) = (config.congestion_control, peer.max_ack_delay());
        let mut connection = Self {
            role,
            max_message_bytes: config.max_message_bytes,
            peer,
            random: Randomness::new(rng),
            state: State::Open,
            events: VecDeque::new(),
            counted: Counted::default(),
            keys: KeyPhases::new(keys),
            replay: ReplayWindow::new(),
            acks: AckTracker::new(config.max_ack_delay),
            marking: Marking::new(),
            ce_counter: CeCounter::new(),
            newest_ack_in: None,
            former_acked: false,
            is_established: false,
            newest_dropped: None,
            paths: Paths::new(route),
            receive_streams: VecMap::default(),
            opened_below: 0,
            receive_buffer: ReceiveBuffer::new(config.receive_buffer_bytes, MemoryBudget::default()),
            outbox: Outbox::new(&config, &peer),
            sent: SentPackets::new(),
            datagram_size: DatagramSize::new(max_datagram),
            rtt,
            repair_encoder: RepairEncoder::new(now, config.repair_bytes_per_second),
            repair_decoder: RepairDecoder::default(),
            congestion: Congestion::new(control, now, ack_delay, rtt.smoothed()),
            paced_until: None,
            timers: Timers::new(now, role, &config, &peer),
            probes: Probes::new(now),
            quiet_packets: 0,
            next_skip: PacketNumber(0),
            trace: None,
        };
        #[cfg(any(test, feature = "testing"))]
        connection.keys.renew_after(config.renew_keys_after);
        connection.draw_next_skip();
        connection.open_stream(StreamId::CONTROL);
        if let Role::Client { .. } = role {
            // The server establishes the connection on the first sealed packet that it receives.
            connection.probes.ask_for_ack();
        }
        connection
    }

    /// Counts what this connection keeps against the budgets of its process as well.
    pub fn share_budgets(&mut self, budgets: &MemoryBudgets) {
        self.receive_buffer.share_budget(budgets.receive.clone());
        self.outbox.share_budget(budgets.send.clone());
    }

    /// Opens a stream for both directions. Ids only grow, and a finished stream is never opened again. A
    /// client need not open what the server opens.
    pub fn open_stream(&mut self, stream: StreamId) {
        self.opened_below = self.opened_below.max(stream.0.saturating_add(1));
        self.receive_streams.add(stream, ReceiveStream::default);
        self.outbox.open(stream);
    }

    /// Makes a client's packets carry another id that the server has given to the connection.
    pub fn rename(&mut self, id: ConnectionId) {
        if let Role::Client { .. } = self.role {
            self.role = Role::Client { id };
        }
    }

    /// Ends a stream for both directions. What was sent on it is still delivered; what arrives on it from now
    /// on is acked and ignored.
    pub fn finish_stream(&mut self, stream: StreamId) {
        if let Some(ended) = self.receive_streams.remove(stream) {
            ended.release(&mut self.receive_buffer);
        }
        self.outbox.finish(stream);
    }

    /// Queues a message, which leaves with the next [`Self::poll_transmit`] that has room.
    ///
    /// `stream` is ignored for [`Delivery::Unreliable`].
    ///
    /// # Errors
    /// [`SendError`]; nothing is queued in that case.
    pub fn send(
        &mut self,
        now: Timestamp,
        stream: StreamId,
        delivery: Delivery,
        payload: Payload,
    ) -> Result<Sent, SendError> {
        if !matches!(self.state, State::Open) {
            return Err(SendError::Closed);
        }
        let is_large = payload.len() > MAX_WHOLE_BYTES;
        let sent = self.outbox.push(stream, delivery, payload)?;
        if delivery.is_reliable() {
            self.timers.on_reliable(now);
        }
        if is_large {
            self.datagram_size.on_use(now);
        }
        Ok(sent)
    }

    /// Queues a [`Delivery::ReliableUnordered`] message of at most 1,162 bytes ahead of those that wait to be
    /// sent. It stays behind earlier unordered messages of its stream, and a fragment may have its turn
    /// before it.
    ///
    /// # Errors
    /// Those of [`Self::send`].
    pub fn send_first(
        &mut self,
        now: Timestamp,
        stream: StreamId,
        payload: Payload,
    ) -> Result<Sent, SendError> {
        if !matches!(self.state, State::Open) {
            return Err(SendError::Closed);
        }
        let sent = self.outbox.push_first(stream, payload)?;
        self.timers.on_reliable(now);
        Ok(sent)
    }

    /// Ends the connection and sends `code` and `reason` to the peer, repeatedly until it confirms. Data that
    /// was not acked yet may be lost. `reason` is cut to 128 bytes.
    pub fn close(&mut self, now: Timestamp, code: CloseCode, reason: &str) {
        let closed = Closed::Local { code, reason: reason.to_owned() };
        self.begin_close(now, code, reason, closed);
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns whether [`Event::Closed`] was reported or is queued.
    pub fn is_closed(&self) -> bool {
        !matches!(self.state, State::Open)
    }

    /// Returns whether the connection is closed and has nothing left to send or report, so that it may be
    /// dropped.
    pub fn is_drained(&self) -> bool {
        matches!(self.state, State::Closed) && self.events.is_empty()
    }

    /// Returns the peer's address: the one that it proved last.
    pub fn remote(&self) -> SocketAddr {
        self.paths.active().remote
    }

    /// Returns the bytes of messages that wait to be sent or acked.
    pub fn queued_bytes(&self) -> usize {
        self.outbox.queued_bytes()
    }

    /// Returns the part of [`Connection::queued_bytes`] that belongs to reliable messages.
    pub fn queued_reliable_bytes(&self) -> usize {
        self.outbox.reliable_bytes()
    }

    /// Returns the largest payload, in bytes, that `delivery` allows now.
    pub fn max_payload_bytes(&self, delivery: Delivery) -> usize {
        self.outbox.max_payload_bytes(delivery)
    }

    /// Returns the connection's statistics.
    pub fn stats(&self) -> Stats {
        let counted = &self.counted;
        Stats {
            packets_sent: counted.packets_sent,
            bytes_sent: counted.bytes_sent,
            packets_received: counted.packets_received,
            bytes_received: counted.bytes_received,
            packets_sent_by_peer: self.acks.largest().map_or(0, |largest| largest + 1),
            packets_dropped: counted.packets_dropped,
            packets_lost: counted.packets_lost,
            ce_received: self.ce_counter.received(),
            ce_told: self.marking.told(),
            repairs_sent: counted.repairs_sent,
            packets_repaired: counted.packets_repaired,
            probes: counted.probes,
            messages_shed: self.outbox.shed(),
            address_changes: counted.address_changes,
            datagram_bytes: self.datagram_size.bytes() as u64,
        }
    }

    /// Returns the smoothed round-trip time; 100 ms before the first sample.
    pub fn rtt(&self) -> Duration {
        self.rtt.smoothed()
    }

    /// Returns the smoothed round-trip time; `None` before the first sample.
    pub fn measured_rtt(&self) -> Option<Duration> {
        self.rtt.has_sample().then(|| self.rtt())
    }

    fn violate(&mut self, now: Timestamp, violation: ProtocolViolation) {
        let reason = violation.to_string();
        self.begin_close(now, CloseCode::ProtocolViolation, &reason, Closed::Violation(violation));
    }

    fn reach_key_limit(&mut self, now: Timestamp, limit: KeyLimit) {
        self.begin_close(now, limit.code(), &limit.to_string(), Closed::KeyLimit(limit));
    }

    // spec: CON-6
    fn begin_close(&mut self, now: Timestamp, code: CloseCode, reason: &str, closed: Closed) {
        if self.is_closed() {
            return;
        }
        let end = reason.floor_char_boundary(MAX_CLOSE_REASON_BYTES);
        let reason = reason.get(..end).unwrap_or_default().to_owned();
        let frame = Close { code: u16::from(code.number()), reason };
        let repeats = match closed {
            Closed::ByPeer { .. } | Closed::TimedOut => Repeats::Once,
            Closed::Local { .. } | Closed::Violation(_) | Closed::KeyLimit(_) => Repeats::UntilConfirmed,
        };
        self.state = State::Closing(Box::new(Closing::new(now, frame, repeats)));
        self.trace_event(now, TraceEvent::Closed(&closed));
        self.end(closed);
    }

    fn end(&mut self, closed: Closed) {
        self.events.push_back(Event::Closed(closed));
        self.outbox.clear();
        self.repair_encoder.go_idle();
        self.repair_decoder = RepairDecoder::default();
        for stream in self.receive_streams.drain() {
            stream.release(&mut self.receive_buffer);
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("remote", &self.remote())
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
