//! [`Endpoint`]: the server's side of one socket, sans-IO: which clients may connect, and which connection a
//! datagram is for.
//!
//! | file | what it does |
//! |---|---|
//! | `admission` | the steps from a HELLO to a half-open connection |
//! | `half_open` | connections that the client has not confirmed |
//! | `ids` | connection ids |
//! | `load` | counts per second: load, rate limits |
//! | `moves` | connections that move to another worker |
//! | `timers` | one deadline per connection |
//! | `prefetch` | memory fetched before it is needed |
//! | `counters` | what was dropped and answered, by reason |
//!
//! The calling contract is that of [`crate::rudp`]. An address that has not proven itself with a sealed
//! packet gets at most a tenth of the bytes that it sent: every answer is at most 120 bytes, and only a
//! HELLO, which has 1,200, is answered, once.

mod admission;
mod config;
mod counters;
mod half_open;
mod ids;
mod load;
mod moves;
mod prefetch;
mod timers;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rand::rngs::StdRng;

pub use admission::Incoming;
pub use config::EndpointConfig;
pub use counters::{Counters, DropReason};
pub use moves::Moving;

use self::half_open::{HalfOpen, HalfOpens};
use self::ids::IdPool;
use self::load::PerSecond;
use self::timers::TimerSet;
use super::{Closed, Connection, Event, PacketDropped, Payload, SendError};
use crate::base::{ConnectionId, Envelope, IdMap, Now, Route, StreamId, Timestamp, WorkerId};
use crate::secure::{Claims, CookieKey, TokenLedger};
use crate::wire::packet::{SealedHeader, is_clear};
use crate::wire::{CloseCode, Delivery};

/// What a datagram requires of the endpoint's owner.
#[derive(Debug)]
pub enum ForOwner {
    /// A client with a valid token wants to connect: call [`Endpoint::accept`] or [`Endpoint::refuse`].
    Incoming(Box<Incoming>),
    /// A sealed packet for a connection of another worker, if that worker exists.
    Foreign(WorkerId, BytesMut),
    /// A sealed packet for a connection that has moved from here to another worker.
    Moved(WorkerId, BytesMut),
}

/// What an endpoint reports to its owner.
#[derive(Debug)]
pub enum EndpointEvent {
    /// A client has confirmed its connection.
    Connected {
        /// The new connection.
        connection: ConnectionId,
        /// The claims of its token.
        claims: Box<Claims>,
        /// Its address.
        from: SocketAddr,
    },
    /// A message arrived.
    Message {
        /// The connection it arrived on.
        connection: ConnectionId,
        /// Its stream; `None` for unreliable messages.
        stream: Option<StreamId>,
        /// Its delivery mode.
        delivery: Delivery,
        /// Its bytes.
        payload: Bytes,
    },
    /// A client is at another address, which has proved itself.
    AddressChanged {
        /// The connection.
        connection: ConnectionId,
        /// The new address.
        to: SocketAddr,
    },
    /// A connection ended; its last event.
    Closed {
        /// The connection.
        connection: ConnectionId,
        /// Why it ended.
        why: Closed,
    },
}

impl EndpointEvent {
    /// Returns the connection that the event is about.
    pub fn connection(&self) -> ConnectionId {
        let (Self::Connected { connection, .. }
        | Self::Message { connection, .. }
        | Self::AddressChanged { connection, .. }
        | Self::Closed { connection, .. }) = self;
        *connection
    }
}

/// All connections of one worker. Sans-IO; see the [module](crate::rudp) for the contract.
pub struct Endpoint {
    config: Arc<EndpointConfig>,
    worker: WorkerId,
    ledger: Arc<TokenLedger>,
    rng: StdRng,
    cookies: CookieKey,
    ids: IdPool,
    half_opens: HalfOpens,
    connections: IdMap<ConnectionId, Live>,
    /// Connections that have closed, oldest first, each once; they say so for some seconds, unless others need
    /// their places. May include some that are gone.
    closing: VecDeque<ConnectionId>,
    /// The workers to which connections have moved from here.
    moved: IdMap<ConnectionId, WorkerId>,
    /// Further ids of connections that have moved here.
    aliases: IdMap<ConnectionId, ConnectionId>,
    /// Connections that moved here and have ended, of which their home has not been notified.
    ended: Vec<ConnectionId>,
    timers: TimerSet,
    /// Connections that may have something to send, each once, as its flag ensures.
    dirty: VecDeque<ConnectionId>,
    /// Connections lent to the owner that may have produced events, each once, as its flag ensures.
    lent: Vec<ConnectionId>,
    events: VecDeque<EndpointEvent>,
    /// Clear packets to be sent.
    answers: VecDeque<(Route, Bytes)>,
    /// The last datagram sent was a clear packet, so connections have the next turn.
    has_answered: bool,
    hellos: PerSecond,
    rejects: PerSecond,
    draining: bool,
    counters: Counters,
}

/// A confirmed connection.
struct Live {
    connection: Box<Connection>,
    /// Its id at this worker, if it has moved here.
    alias: Option<ConnectionId>,
    is_dirty: bool,
    is_lent: bool,
    /// The owner was notified of the connection.
    is_known: bool,
    /// It is one of [`Endpoint::closing`].
    is_closing: bool,
}

/// What an id is that no connection of an endpoint has.
enum Found {
    /// A further id of a connection that has moved here.
    Alias(ConnectionId),
    /// That of a half-open connection.
    HalfOpen,
    /// That of a connection that has moved to another worker.
    Moved(WorkerId),
    /// One that another worker has assigned.
    Foreign(WorkerId),
    Unknown,
}

/// Most clear packets that wait to be sent; any more are not sent at all.
const ANSWERS_MAX: usize = 4_096;

/// Bytes of messages that wait at a connection to be sent or acked after a message was added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backlog {
    /// Those of reliable messages.
    pub reliable_bytes: usize,
    /// By how much the message increased them; 0 if it replaced others.
    pub added_bytes: usize,
}

impl Endpoint {
    /// Creates an endpoint without connections. `ledger` is that of the whole process.
    pub fn new(
        config: Arc<EndpointConfig>,
        worker: WorkerId,
        ledger: Arc<TokenLedger>,
        mut rng: StdRng,
    ) -> Self {
        Self {
            config,
            worker,
            ledger,
            cookies: CookieKey::generate(&mut rng),
            rng,
            ids: IdPool::new(worker),
            half_opens: HalfOpens::default(),
            connections: IdMap::default(),
            closing: VecDeque::new(),
            moved: IdMap::default(),
            aliases: IdMap::default(),
            ended: Vec::new(),
            timers: TimerSet::default(),
            dirty: VecDeque::new(),
            lent: Vec::new(),
            events: VecDeque::new(),
            answers: VecDeque::new(),
            has_answered: false,
            hellos: PerSecond::default(),
            rejects: PerSecond::default(),
            draining: false,
            counters: Counters::default(),
        }
    }

    /// Handles a datagram of any kind.
    pub fn handle_datagram(&mut self, now: Now, from: Envelope, datagram: BytesMut) -> Option<ForOwner> {
        if datagram.is_empty() || is_clear(&datagram) {
            self.counters.unproven_bytes_received += datagram.len() as u64;
            return self
                .handle_clear(now, from.route, &datagram.freeze())
                .map(|incoming| ForOwner::Incoming(Box::new(incoming)));
        }
        let Some(id) = SealedHeader::connection_of(&datagram) else {
            self.count_unproven(datagram.len(), DropReason::SealedMalformed);
            return None;
        };
        self.handle_sealed(now.mono, id, from, datagram)
    }

    /// Handles what is due: ends half-open connections and runs the timers of the others.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        while let Some(id) = self.half_opens.pop_ended(now) {
            self.end_half_open(now, id);
        }
        // Each connection is taken once: its next deadline, which may be now, is set when it is polled.
        while let Some(id) = self.timers.pop_due(now) {
            if let Some(live) = self.connections.get_mut(&id) {
                live.connection.handle_timeout(now);
                live.take_events(id, &mut self.events);
                live.mark_dirty(id, &mut self.dirty);
            }
        }
    }

    /// Returns when [`Self::handle_timeout`] must be called next. A connection's deadline is known once
    /// [`Self::poll_transmit`] has sent all that the connection has to send.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.timers.next().into_iter().chain(self.half_opens.next_end()).min()
    }

    /// Returns the number of events waiting; there may be more.
    pub fn waiting_events(&self) -> usize {
        self.events.len()
    }

    /// Returns the next event.
    pub fn poll_event(&mut self) -> Option<EndpointEvent> {
        while self.events.is_empty() {
            let id = self.lent.pop()?;
            if let Some(live) = self.connections.get_mut(&id) {
                live.is_lent = false;
                live.take_events(id, &mut self.events);
            }
        }
        self.events.pop_front()
    }

    /// Lends a connection, even a closing one. It is polled for datagrams afterwards.
    pub fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let live = self.connections.get_mut(&id)?;
        live.mark_dirty(id, &mut self.dirty);
        if !live.is_lent {
            live.is_lent = true;
            self.lent.push(id);
        }
        Some(&mut live.connection)
    }

    /// Returns the bytes of reliable messages that wait at a connection to be sent or acked; 0 when the
    /// connection does not exist.
    pub fn queued_reliable_bytes(&self, id: ConnectionId) -> usize {
        self.connections.get(&id).map_or(0, |live| live.connection.queued_reliable_bytes())
    }

    /// Queues a message on a connection, as [`Connection::send`] does, and returns how many bytes of messages
    /// wait there to be sent or acked.
    ///
    /// # Errors
    /// [`SendError`]; [`SendError::Closed`] also for a connection that does not exist.
    pub fn send(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        stream: StreamId,
        delivery: Delivery,
        payload: Payload,
    ) -> Result<Backlog, SendError> {
        let live = self.connections.get_mut(&id).ok_or(SendError::Closed)?;
        let before = live.connection.queued_reliable_bytes();
        live.connection.send(now, stream, delivery, payload)?;
        live.mark_dirty(id, &mut self.dirty);
        let reliable_bytes = live.connection.queued_reliable_bytes();
        Ok(Backlog { reliable_bytes, added_bytes: reliable_bytes.saturating_sub(before) })
    }

    /// Queues a message on a connection, as [`Connection::send_first`] does.
    ///
    /// # Errors
    /// Those of [`Self::send`].
    pub fn send_first(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        stream: StreamId,
        payload: Payload,
    ) -> Result<(), SendError> {
        let live = self.connections.get_mut(&id).ok_or(SendError::Closed)?;
        live.connection.send_first(now, stream, payload)?;
        live.mark_dirty(id, &mut self.dirty);
        Ok(())
    }

    /// Appends the next datagram to the empty `out`. Returns where it goes and how it is marked.
    pub fn poll_transmit(&mut self, now: Timestamp, out: &mut BytesMut) -> Option<Envelope> {
        if !std::mem::take(&mut self.has_answered)
            && let Some(envelope) = self.poll_answer(out)
        {
            self.has_answered = true;
            return Some(envelope);
        }
        self.poll_connections(now, out).or_else(|| self.poll_answer(out))
    }

    fn poll_answer(&mut self, out: &mut BytesMut) -> Option<Envelope> {
        let (route, answer) = self.answers.pop_front()?;
        self.counters.unproven_bytes_sent += answer.len() as u64;
        out.extend_from_slice(&answer);
        Some(route.into())
    }

    fn poll_connections(&mut self, now: Timestamp, out: &mut BytesMut) -> Option<Envelope> {
        while let Some(&id) = self.dirty.front() {
            if let Some(live) = self.connections.get_mut(&id) {
                if let Some(envelope) = live.connection.poll_transmit(now, out) {
                    return Some(envelope);
                }
                live.is_dirty = false;
                self.settle(now, id);
            }
            self.dirty.pop_front();
            self.prefetch_to_transmit();
        }
        None
    }

    /// Returns true while answers wait to clients that have proven nothing.
    pub fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Drops those answers and returns how many there were. A client that gets no answer sends its HELLO again.
    // spec: HSK-14
    pub fn drop_answers(&mut self) -> usize {
        let dropped = self.answers.len();
        self.answers.clear();
        dropped
    }

    /// Refuses all further connections with `draining`, or stops doing so.
    pub fn set_draining(&mut self, draining: bool) {
        self.draining = draining;
    }

    /// Returns the number of confirmed connections, closing ones included.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Returns the number of connections that wait for the client's first sealed packet.
    pub fn half_open_count(&self) -> usize {
        self.half_opens.len()
    }

    /// Returns true while a client that has not confirmed its connection may believe itself connected.
    pub fn awaits_clients(&self) -> bool {
        self.half_opens.claims().any(|claims| !self.ledger.is_spent(&claims.id))
    }

    /// Returns the address of a connection's client, the one that it proved last.
    pub fn address(&self, id: ConnectionId) -> Option<SocketAddr> {
        self.connections.get(&id).map(|live| live.connection.remote())
    }

    /// Returns the counts of what was received, dropped and answered.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn handle_sealed(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        from: Envelope,
        packet: BytesMut,
    ) -> Option<ForOwner> {
        let bytes = packet.len();
        if let Some(live) = self.connections.get_mut(&id) {
            let taken = live.connection.handle_packet(now, from, packet);
            live.take_events(id, &mut self.events);
            if !is_nothing(&taken) || live.connection.is_closed() {
                live.mark_dirty(id, &mut self.dirty);
            }
            if let Err(why) = taken {
                self.count_unproven(bytes, why.into());
            }
            return None;
        }
        match self.find(id) {
            Found::Alias(of) => return self.handle_sealed(now, of, from, packet),
            Found::HalfOpen => self.handle_half_open(now, id, from, packet),
            Found::Moved(to) => return Some(ForOwner::Moved(to, packet)),
            Found::Foreign(to) => return Some(ForOwner::Foreign(to, packet)),
            Found::Unknown => self.count_unproven(bytes, DropReason::UnknownConnection),
        }
        None
    }

    /// Finds out what an id is that no connection here has.
    fn find(&self, id: ConnectionId) -> Found {
        if id.worker() != self.worker {
            Found::Foreign(id.worker())
        } else if let Some(&of) = self.aliases.get(&id) {
            Found::Alias(of)
        } else if self.half_opens.contains(id) {
            Found::HalfOpen
        } else {
            self.moved_to(id).map_or(Found::Unknown, Found::Moved)
        }
    }

    fn handle_half_open(&mut self, now: Timestamp, id: ConnectionId, from: Envelope, packet: BytesMut) {
        let bytes = packet.len();
        let Some(half_open) = self.half_opens.get_mut(id) else { return };
        let taken = half_open.connection.handle_packet(now, from, packet);
        match half_open.connection.poll_event() {
            Some(Event::Established) => self.confirm(now, id),
            // A connection whose client has broken the protocol stays until its time is over; otherwise a
            // token would allow any number of handshakes.
            // spec: HSK-11
            _ => {
                let why = taken.err().map_or(DropReason::SealedMalformed, DropReason::from);
                self.count_unproven(bytes, why);
            }
        }
    }

    /// Handles the client's first sealed packet: spends the token and fixes the port. The token's other
    /// half-open connections stay until their time is over; one that is then confirmed is closed, so that its
    /// client learns of it.
    // spec: HSK-13
    fn confirm(&mut self, now: Timestamp, id: ConnectionId) {
        let Some(HalfOpen { mut connection, claims, .. }) = self.half_opens.remove(id) else { return };
        let is_known = self.ledger.spend(&claims.id);
        if is_known {
            let from = connection.remote();
            self.events.push_back(EndpointEvent::Connected {
                connection: id,
                claims: Box::new(claims),
                from,
            });
        } else {
            self.counters.count_dropped(DropReason::TokenUsed);
            connection.close(now, CloseCode::Replaced, "");
        }
        let mut live =
            Live { connection, alias: None, is_dirty: false, is_lent: false, is_known, is_closing: false };
        live.take_events(id, &mut self.events);
        live.mark_dirty(id, &mut self.dirty);
        self.connections.insert(id, live);
    }

    fn end_half_open(&mut self, now: Timestamp, id: ConnectionId) {
        if let Some(half_open) = self.half_opens.remove(id) {
            self.ledger.release(&half_open.claims.id);
            self.ids.give_back(now, id);
        }
    }

    /// Follows up on a connection that has sent everything: takes its events, sets its timer, and drops it
    /// when it is drained.
    fn settle(&mut self, now: Timestamp, id: ConnectionId) {
        let Some(live) = self.connections.get_mut(&id) else { return };
        live.take_events(id, &mut self.events);
        let is_drained = live.connection.is_drained();
        let deadline = if is_drained { None } else { live.connection.poll_timeout() };
        self.timers.set(id, deadline);
        if is_drained {
            self.part_with(now, id);
        } else if live.connection.is_closed() && !std::mem::replace(&mut live.is_closing, true) {
            self.closing.push_back(id);
            while self.closing.pop_front_if(|id| !is_closing(&self.connections, *id)).is_some() {}
        }
    }

    /// Drops a closing connection before its time. Its peer learns of the end by itself.
    fn drop_connection(&mut self, now: Timestamp, id: ConnectionId) {
        self.timers.set(id, None);
        self.part_with(now, id);
    }

    fn count_unproven(&mut self, bytes: usize, why: DropReason) {
        self.counters.unproven_bytes_received += bytes as u64;
        self.counters.count_dropped(why);
    }
}

impl std::fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoint")
            .field("worker", &self.worker)
            .field("connections", &self.connection_count())
            .finish_non_exhaustive()
    }
}

/// Returns true for a connection that has closed and is not drained.
fn is_closing(connections: &IdMap<ConnectionId, Live>, id: ConnectionId) -> bool {
    connections.get(&id).is_some_and(|live| live.is_closing)
}

/// Returns true for copies and for packets that anybody can make. They change nothing, except when they
/// exceed the limit of packets that do not open.
fn is_nothing(taken: &Result<(), PacketDropped>) -> bool {
    matches!(
        taken,
        Err(PacketDropped::Malformed
            | PacketDropped::Replayed
            | PacketDropped::DoesNotOpen
            | PacketDropped::OffPath)
    )
}

impl Live {
    /// Notes that the connection may have something to send.
    fn mark_dirty(&mut self, id: ConnectionId, dirty: &mut VecDeque<ConnectionId>) {
        if !self.is_dirty {
            self.is_dirty = true;
            dirty.push_back(id);
        }
    }

    fn take_events(&mut self, id: ConnectionId, events: &mut VecDeque<EndpointEvent>) {
        while let Some(event) = self.connection.poll_event() {
            if !self.is_known {
                continue;
            }
            events.push_back(match event {
                Event::Established => continue,
                Event::Message { stream, delivery, payload } => {
                    EndpointEvent::Message { connection: id, stream, delivery, payload }
                }
                Event::AddressChanged(to) => EndpointEvent::AddressChanged { connection: id, to },
                Event::Closed(why) => EndpointEvent::Closed { connection: id, why },
            });
        }
    }
}

impl From<PacketDropped> for DropReason {
    fn from(why: PacketDropped) -> Self {
        match why {
            PacketDropped::Malformed => Self::SealedMalformed,
            PacketDropped::Replayed => Self::Replayed,
            PacketDropped::DoesNotOpen => Self::DoesNotOpen,
            PacketDropped::OffPath => Self::OffPath,
            PacketDropped::OverBudget => Self::OverBudget,
            PacketDropped::TooLate | PacketDropped::Closed => Self::Late,
        }
    }
}
