//! [`Connection`]: one peer, from the end of the handshake to the close.
//!
//! | file | what it does |
//! |---|---|
//! | `receive` | opens packets, takes frames, hands messages up |
//! | `feedback` | what the peer tells of this end's packets |
//! | `transmit` | packs frames into packets and seals them |
//! | `outbox` | messages that wait to be sent, and their budgets |
//! | `stream/` | numbering, order, fragments: a stream's two sides |
//! | `acks` | which packets arrived, when to say so |
//! | `sent` | packets under way: acks and loss |
//! | `datagram_size` | how large a datagram the path takes |
//! | `repair/` | REPAIR frames: lost packets without a round trip |
//! | `rtt` | round-trip time |
//! | `controller/` | bytes under way, and how fast they leave |
//! | `loss` | the share of packets lost |
//! | `marks` | ECN: congestion told by marks |
//! | `keys` | key phases |
//! | `path` | the peer's address, and how it changes |
//! | `random` | what is drawn by chance |
//! | `prefetch` | memory asked for before it is needed |
//! | `recovery` | losses that no ack tells of, and probes |
//! | `timers` | idle, keepalive, rest, close |
//! | `trace/` | what a trace is told |

mod acks;
#[cfg(any(test, fuzzing))]
mod audit;
mod config;
mod controller;
mod datagram_size;
mod error;
mod feedback;
mod keys;
mod loss;
mod marks;
mod outbox;
mod path;
mod prefetch;
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
pub use error::{Closed, KeyLimit, PacketDropped, ProtocolViolation, SendError, Sent};
pub use marks::EcnState;
pub use trace::{Metrics, Trace, TraceEvent, TracedFrame, TracedPlace, Tracer, Vantage};

use self::acks::AckTracker;
use self::controller::Congestion;
use self::datagram_size::DatagramSize;
use self::keys::KeyPhases;
use self::marks::Marks;
use self::outbox::{MAX_WHOLE_BYTES, Outbox};
use self::path::Paths;
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
    /// Its packets name the connection; the peer opens streams.
    Client {
        /// The id that the server chose.
        id: ConnectionId,
    },
    /// Its packets name nothing; only this end opens streams.
    Server,
}

/// What a connection tells its owner.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The first packet of the peer has opened: it holds the keys.
    Established,
    /// A message arrived.
    Message {
        /// Its stream; `None` for unreliable ones, which belong to none.
        stream: Option<StreamId>,
        /// How it was sent.
        delivery: Delivery,
        /// What was sent.
        payload: Bytes,
    },
    /// The connection has ended; told once, and nothing follows.
    Closed(Closed),
}

/// What a connection has done, for people and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sealed packets sent.
    pub packets_sent: u64,
    /// Their bytes, UDP payload.
    pub bytes_sent: u64,
    /// Packets that opened.
    pub packets_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Packets that the peer has sent, judged by the highest number received: a few too many, since it leaves out about
    /// one number in a thousand.
    pub packets_sent_by_peer: u64,
    /// Packets that had no effect: replayed, late, not opening.
    pub packets_dropped: u64,
    /// Packets taken for lost.
    pub packets_lost: u64,
    /// Packets of the peer that came marked CE.
    pub ce_received: u64,
    /// Packets of this end that arrived marked CE, as the peer tells.
    pub ce_told: u64,
    /// REPAIR frames sent.
    pub repairs_sent: u64,
    /// Lost packets of the peer whose messages were repaired.
    pub packets_repaired: u64,
    /// Times that a probe was due.
    pub probes: u64,
    /// Unreliable and sequenced messages dropped because they waited too long for room.
    pub messages_shed: u64,
    /// Changes of the peer's address.
    pub address_changes: u64,
    /// Largest datagram, UDP payload, that this end sends now: 1,200 until a probe has shown that the path takes more.
    /// Spec: MTU-1.
    pub datagram_bytes: u64,
}

/// What a connection counts of its [`Stats`]; the rest follows from what it knows besides.
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

/// A connection, sans-IO. See the [module](super) for the calling contract.
///
/// Its fields lie in the order in which a delivery needs them: a server with thousands of connections finds
/// each of them out of the cache, and pays by the line.
#[repr(C)]
pub struct Connection {
    // A message that is queued.
    state: State,
    outbox: Outbox,

    // A packet that leaves.
    sent: SentPackets,
    congestion: Congestion,
    /// When the window last held back what waited, or would have, had the pacer not done so.
    held_back_at: Option<Timestamp>,
    /// Until when the pacer holds it back.
    paced_until: Option<Timestamp>,
    /// The next packet number that is left out.
    next_skip: PacketNumber,
    trace: Option<Box<Tracing>>,
    events: VecDeque<Event>,
    timers: Timers,
    /// Packets sent since the last that asks for an ack.
    quiet_packets: u32,
    role: Role,
    rtt: RttEstimator,
    repair_encoder: RepairEncoder,
    paths: Paths,
    marks: Marks,
    datagram_size: DatagramSize,
    counted: Counted,
    keys: KeyPhases,

    // A packet that arrives.
    acks: AckTracker,
    replay: ReplayWindow,
    /// Largest packet number that carried an ack: acks in older packets say nothing new.
    newest_ack_in: Option<u64>,
    /// Largest number of a packet that opened and was dropped for want of room.
    newest_dropped: Option<PacketNumber>,
    repair_decoder: RepairDecoder,
    receive_streams: VecMap<StreamId, ReceiveStream>,
    /// Streams above were never opened; those below and not open are finished.
    opened_below: u32,
    /// The newest ack has named packets of a former path: marks that come with it may be theirs.
    former_acked: bool,
    receive_buffer: ReceiveBuffer,

    // What changes hardly ever.
    congestion_control: CongestionControl,
    max_message_bytes: usize,
    peer: TransportParameters,
    random: Randomness,
}

/// Where the connection stands in its life.
#[derive(Debug)]
enum State {
    Open,
    /// This end says CLOSE until the peer confirms it or the time for that is over.
    Closing(Box<Closing>),
    /// Nothing leaves any more.
    Closed,
}

#[derive(Debug)]
struct Closing {
    frame: Close,
    /// Said once, and this end is done.
    once: bool,
    /// Times that it was said, and when last.
    said: u32,
    said_at: Timestamp,
    /// When CLOSE leaves next.
    due: Timestamp,
    /// When it is said no more.
    until: Timestamp,
}

/// CLOSE is said for so long without an answer: outages of a line are mostly shorter. Spec: CON-6.
const CLOSE_TIME: Duration = Duration::from_secs(3);

impl Connection {
    /// A connection whose handshake has just ended with `keys`; `peer` is what the other end told of
    /// itself. It is reached by `route`; a client may move, a server stays. Stream 0 is open.
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
        let ack_delay = peer.max_ack_delay();
        let controller = controller::new(config.congestion_control, now, BASE_DATAGRAM_BYTES, ack_delay);
        let mut connection = Self {
            role,
            congestion_control: config.congestion_control,
            max_message_bytes: config.max_message_bytes,
            peer,
            random: Randomness::new(rng),
            state: State::Open,
            events: VecDeque::new(),
            counted: Counted::default(),
            keys: KeyPhases::new(keys),
            replay: ReplayWindow::new(),
            acks: AckTracker::new(config.max_ack_delay),
            marks: Marks::new(),
            newest_ack_in: None,
            former_acked: false,
            newest_dropped: None,
            paths: Paths::new(now, route),
            receive_streams: VecMap::default(),
            opened_below: 0,
            receive_buffer: ReceiveBuffer::new(config.receive_buffer_bytes, MemoryBudget::default()),
            outbox: Outbox::new(&config, &peer),
            sent: SentPackets::new(),
            datagram_size: DatagramSize::new(max_datagram),
            rtt,
            repair_encoder: RepairEncoder::new(now, config.repair_bytes_per_second),
            repair_decoder: RepairDecoder::default(),
            congestion: Congestion::new(controller, now, BASE_DATAGRAM_BYTES, rtt.smoothed()),
            held_back_at: None,
            paced_until: None,
            timers: Timers::new(now, &config, &peer),
            quiet_packets: 0,
            next_skip: PacketNumber(0),
            trace: None,
        };
        connection.draw_next_skip();
        connection.open_stream(StreamId::CONTROL);
        if let Role::Client { .. } = role {
            // The server opens the connection with the first sealed packet it sees.
            connection.timers.ask_for_ack();
        }
        connection
    }

    /// Counts what this connection keeps against the budgets of its process, too.
    pub fn share_budgets(&mut self, budgets: &MemoryBudgets) {
        self.receive_buffer.share_budget(budgets.receive.clone());
        self.outbox.share_budget(budgets.send.clone());
    }

    /// Opens a stream for both directions. Ids only grow; a finished one is never opened again.
    /// A client need not open what the server opens.
    pub fn open_stream(&mut self, stream: StreamId) {
        self.opened_below = self.opened_below.max(stream.0.saturating_add(1));
        self.receive_streams.add(stream, ReceiveStream::default);
        self.outbox.open(stream);
    }

    /// Has a client's packets carry another id that the server has given the connection.
    pub fn rename(&mut self, id: ConnectionId) {
        if let Role::Client { .. } = self.role {
            self.role = Role::Client { id };
        }
    }

    /// Ends a stream for both directions: what was sent on it is still delivered, what arrives on it
    /// from now on is acked and ignored.
    pub fn finish_stream(&mut self, stream: StreamId) {
        if let Some(ended) = self.receive_streams.remove(stream) {
            ended.release(&mut self.receive_buffer);
        }
        self.outbox.finish(stream);
    }

    /// Queues a message. It leaves with the next [`Self::poll_transmit`] that has room.
    ///
    /// `stream` plays no part for [`Delivery::Unreliable`].
    ///
    /// # Errors
    /// [`SendError`]; nothing is queued then.
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

    /// Ends the connection: the peer is told `code` and `reason`, repeatedly until it confirms.
    /// What was not acked yet may be lost. `reason` is cut to 128 bytes.
    pub fn close(&mut self, now: Timestamp, code: CloseCode, reason: &str) {
        let closed = Closed::Local { code, reason: reason.to_owned() };
        self.begin_close(now, code, reason, closed);
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// True once [`Event::Closed`] was told, or waits to be.
    pub fn is_closed(&self) -> bool {
        !matches!(self.state, State::Open)
    }

    /// True when the connection is closed and has nothing left to say: it may be dropped.
    pub fn is_drained(&self) -> bool {
        matches!(self.state, State::Closed) && self.events.is_empty()
    }

    /// Where the peer is: the address that it proved last.
    pub fn remote(&self) -> SocketAddr {
        self.paths.active().remote
    }

    /// Bytes of messages that wait to be sent or acked.
    pub fn queued_bytes(&self) -> usize {
        self.outbox.queued_bytes()
    }

    /// Of these, what belongs to reliable messages.
    pub fn queued_reliable_bytes(&self) -> usize {
        self.outbox.reliable_bytes()
    }

    /// Largest payload that `delivery` takes now, in bytes.
    pub fn max_payload_bytes(&self, delivery: Delivery) -> usize {
        self.outbox.max_payload_bytes(delivery)
    }

    /// What the connection has done.
    pub fn stats(&self) -> Stats {
        let (ce_received, ce_told) = self.marks.counts();
        let counted = &self.counted;
        Stats {
            packets_sent: counted.packets_sent,
            bytes_sent: counted.bytes_sent,
            packets_received: counted.packets_received,
            bytes_received: counted.bytes_received,
            packets_sent_by_peer: self.acks.largest().map_or(0, |largest| largest + 1),
            packets_dropped: counted.packets_dropped,
            packets_lost: counted.packets_lost,
            ce_received,
            ce_told,
            repairs_sent: counted.repairs_sent,
            packets_repaired: counted.packets_repaired,
            probes: counted.probes,
            messages_shed: self.outbox.shed(),
            address_changes: counted.address_changes,
            datagram_bytes: self.datagram_size.bytes() as u64,
        }
    }

    /// The smoothed round-trip time; 100 ms before the first sample.
    pub fn rtt(&self) -> Duration {
        self.rtt.smoothed()
    }

    /// The same; `None` before the first sample.
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
        // An answer, or a last word to a peer that is perhaps not there.
        let once = matches!(closed, Closed::ByPeer { .. } | Closed::TimedOut);
        let until = now + CLOSE_TIME;
        let closing = Closing { frame, once, said: 0, said_at: now, due: now, until };
        self.state = State::Closing(Box::new(closing));
        self.trace_event(now, TraceEvent::Closed(&closed));
        self.end(closed);
    }

    fn end(&mut self, closed: Closed) {
        self.events.push_back(Event::Closed(closed));
        self.outbox.clear();
        self.repair_encoder.rest();
        self.repair_decoder = RepairDecoder::default();
        for stream in self.receive_streams.drain() {
            stream.release(&mut self.receive_buffer);
        }
    }
}
