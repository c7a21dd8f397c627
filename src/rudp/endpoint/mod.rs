//! [`Endpoint`]: the server's side of one socket, sans-IO: who may connect, and which connection a
//! datagram is for.
//!
//! | file | what it does |
//! |---|---|
//! | `admission` | the steps from a HELLO to a half-open connection |
//! | `half_open` | connections that the client has not confirmed |
//! | `ids` | connection ids |
//! | `load` | counts in a second: load, rate limits |
//! | `moves` | connections that go on at another worker |
//! | `timers` | one deadline a connection |
//! | `prefetch` | memory asked for before it is needed |
//! | `counters` | what was dropped and answered, by reason |
//!
//! The calling contract is that of [`crate::rudp`]. An address that has not proved itself with a sealed
//! packet gets at most a tenth of the bytes that it sent: every answer is at most 120 bytes, and
//! only a HELLO, which has 1,200, is answered, once.

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

/// What a datagram asks of the endpoint's owner.
#[derive(Debug)]
pub enum Input {
    /// Somebody with a good token wants to connect: [`Endpoint::accept`] or [`Endpoint::refuse`].
    Incoming(Box<Incoming>),
    /// A sealed packet for a connection of another worker, if there is such a worker.
    Foreign(WorkerId, BytesMut),
    /// A sealed packet for a connection that has moved from here to another worker.
    Moved(WorkerId, BytesMut),
}

/// What an endpoint tells its owner.
#[derive(Debug)]
pub enum EndpointEvent {
    /// A client has confirmed its connection.
    Connected {
        /// The new connection.
        connection: ConnectionId,
        /// What its token says.
        claims: Box<Claims>,
        /// Its address.
        from: SocketAddr,
    },
    /// A message arrived.
    Message {
        /// On this connection.
        connection: ConnectionId,
        /// On this stream; `None` for unreliable ones.
        stream: Option<StreamId>,
        /// How it was sent.
        delivery: Delivery,
        /// What was sent.
        payload: Bytes,
    },
    /// A connection ended; the last event of it.
    Closed {
        /// The connection.
        connection: ConnectionId,
        /// Why.
        why: Closed,
    },
}

impl EndpointEvent {
    /// Which connection it is about.
    pub fn connection(&self) -> ConnectionId {
        let (Self::Connected { connection, .. }
        | Self::Message { connection, .. }
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
    /// Where connections are that have moved from here.
    moved: IdMap<ConnectionId, WorkerId>,
    /// Further ids of connections that have moved here.
    aliases: IdMap<ConnectionId, ConnectionId>,
    /// Connections that moved here and have ended, of which their home has not heard.
    ended: Vec<ConnectionId>,
    timers: TimerSet,
    /// Connections that may have something to send; each is in it once, by its flag.
    dirty: VecDeque<ConnectionId>,
    /// Connections lent to the owner, which may have made events; each is in it once, by its flag.
    lent: Vec<ConnectionId>,
    events: VecDeque<EndpointEvent>,
    /// Clear packets to be sent.
    answers: VecDeque<(Route, Bytes)>,
    /// The last datagram was one of these: those of connections have their turn.
    has_answered: bool,
    hellos: PerSecond,
    rejects: PerSecond,
    draining: bool,
    counters: Counters,
}

/// A confirmed connection.
struct Live {
    connection: Box<Connection>,
    /// Its id at this worker, where it has moved here.
    alias: Option<ConnectionId>,
    is_dirty: bool,
    is_lent: bool,
    /// The owner has been told of it.
    is_known: bool,
}

/// Clear packets that wait to be sent at most; further ones are not sent at all.
const ANSWERS_MAX: usize = 4_096;

/// What waits at a connection to be sent or acked once a message to it is queued, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queued {
    /// Of all messages.
    pub all: usize,
    /// Of reliable ones.
    pub reliable: usize,
    /// By how much the message has made `reliable` larger; 0 where it has taken the place of others.
    pub added: usize,
}

impl Endpoint {
    /// An endpoint without connections. `ledger` is that of the whole process.
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

    /// Takes a datagram, whatever it is.
    pub fn handle_datagram(&mut self, now: Now, from: Envelope, datagram: BytesMut) -> Option<Input> {
        if datagram.is_empty() || is_clear(&datagram) {
            self.counters.unproven_bytes_received += datagram.len() as u64;
            return self
                .handle_clear(now, from.route, &datagram.freeze())
                .map(|incoming| Input::Incoming(Box::new(incoming)));
        }
        let Some(id) = SealedHeader::connection_of(&datagram) else {
            self.count_unproven(datagram.len(), DropReason::SealedMalformed);
            return None;
        };
        self.handle_sealed(now.mono, id, from, datagram)
    }

    /// Does what is due: ends half-open connections, runs the timers of the others.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        while let Some(id) = self.half_opens.pop_ended(now) {
            self.end_half_open(now, id);
        }
        // Each is taken once: its next deadline, which may be now, is set when it is polled.
        while let Some(id) = self.timers.pop_due(now) {
            if let Some(live) = self.connections.get_mut(&id) {
                live.connection.handle_timeout(now);
                live.take_events(id, &mut self.events);
                live.mark_dirty(id, &mut self.dirty);
            }
        }
    }

    /// When [`Self::handle_timeout`] must be called next. A connection's deadline is known once all that it
    /// has to say has left by [`Self::poll_transmit`].
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.timers.next().into_iter().chain(self.half_opens.next_end()).min()
    }

    /// Events that wait; there may be more.
    pub fn waiting_events(&self) -> usize {
        self.events.len()
    }

    /// The next event.
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

    /// Lends a connection, closing ones included. It is polled for datagrams afterwards.
    pub fn connection(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        let live = self.connections.get_mut(&id)?;
        live.mark_dirty(id, &mut self.dirty);
        if !live.is_lent {
            live.is_lent = true;
            self.lent.push(id);
        }
        Some(&mut live.connection)
    }

    /// Bytes of messages that wait at a connection to be sent or acked; none where there is none.
    pub fn queued_bytes(&self, id: ConnectionId) -> usize {
        self.connections.get(&id).map_or(0, |live| live.connection.queued_bytes())
    }

    /// The same of reliable ones.
    pub fn queued_reliable_bytes(&self, id: ConnectionId) -> usize {
        self.connections.get(&id).map_or(0, |live| live.connection.queued_reliable_bytes())
    }

    /// Queues a message on a connection, as [`Connection::send`] does, and tells how many bytes of messages
    /// wait there to be sent or acked.
    ///
    /// # Errors
    /// [`SendError`]; [`SendError::Closed`] for a connection that is not there, too.
    pub fn send(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        stream: StreamId,
        delivery: Delivery,
        payload: Payload,
    ) -> Result<Queued, SendError> {
        let live = self.connections.get_mut(&id).ok_or(SendError::Closed)?;
        let before = live.connection.queued_reliable_bytes();
        live.connection.send(now, stream, delivery, payload)?;
        live.mark_dirty(id, &mut self.dirty);
        let reliable = live.connection.queued_reliable_bytes();
        let added = reliable.saturating_sub(before);
        Ok(Queued { all: live.connection.queued_bytes(), reliable, added })
    }

    /// Appends the next datagram to the empty `out` and tells where it goes and how it is marked.
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

    /// True while answers to clients wait that have proved nothing.
    pub fn has_answers(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Drops them; how many. A client that gets no answer asks again.
    // spec: HSK-14
    pub fn drop_answers(&mut self) -> usize {
        let dropped = self.answers.len();
        self.answers.clear();
        dropped
    }

    /// Refuses all further connections with `draining`, or no longer.
    pub fn set_draining(&mut self, draining: bool) {
        self.draining = draining;
    }

    /// Confirmed connections, closing ones included.
    pub fn connection_count(&self) -> usize {
        self.connections.len()
    }

    /// Connections that wait for the client's first sealed packet.
    pub fn half_open_count(&self) -> usize {
        self.half_opens.len()
    }

    /// True while a client may take itself for connected that has not confirmed it.
    pub fn awaits_clients(&self) -> bool {
        self.half_opens.claims().any(|claims| !self.ledger.is_spent(&claims.id))
    }

    /// The address of a connection's client: the one that it proved last.
    pub fn address(&self, id: ConnectionId) -> Option<SocketAddr> {
        self.connections.get(&id).map(|live| live.connection.remote())
    }

    /// What it has received, dropped and answered.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn handle_sealed(
        &mut self,
        now: Timestamp,
        id: ConnectionId,
        from: Envelope,
        packet: BytesMut,
    ) -> Option<Input> {
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
        } else if id.worker() != self.worker {
            return Some(Input::Foreign(id.worker(), packet));
        } else if let Some(&alias_of) = self.aliases.get(&id) {
            return self.handle_sealed(now, alias_of, from, packet);
        } else if let Some(half_open) = self.half_opens.get_mut(id) {
            let taken = half_open.connection.handle_packet(now, from, packet);
            match half_open.connection.poll_event() {
                Some(Event::Established) => self.confirm(now, id),
                // One whose client has broken the protocol stays until its time is over, or a token would be good for
                // handshakes without end.
                // spec: HSK-11
                _ => {
                    let why = taken.err().map_or(DropReason::SealedMalformed, DropReason::from);
                    self.count_unproven(bytes, why);
                }
            }
        } else if let Some(to) = self.moved_to(id) {
            return Some(Input::Moved(to, packet));
        } else {
            self.count_unproven(bytes, DropReason::UnknownConnection);
        }
        None
    }

    /// The client's first sealed packet: spends the token and fixes the port. The token's other half-open connections
    /// stay until their time is over: one that is confirmed then is closed, for its client to know.
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
        let mut live = Live { connection, alias: None, is_dirty: false, is_lent: false, is_known };
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

    /// After a connection has said all that it has to say: takes its events, sets its timer, drops it
    /// when it is done.
    fn settle(&mut self, now: Timestamp, id: ConnectionId) {
        let Some(live) = self.connections.get_mut(&id) else { return };
        live.take_events(id, &mut self.events);
        let is_drained = live.connection.is_drained();
        let deadline = if is_drained { None } else { live.connection.poll_timeout() };
        self.timers.set(id, deadline);
        if is_drained {
            self.part_with(now, id);
        }
    }

    fn count_unproven(&mut self, bytes: usize, why: DropReason) {
        self.counters.unproven_bytes_received += bytes as u64;
        self.counters.count_dropped(why);
    }
}

/// True for packets that anybody can make, and copies: they change nothing, unless they are one too many of those that do
/// not open.
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
    /// The connection may have something to send.
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
