//! A user with a valid token and a client of its own making. It sends whatever it likes, to its own sessions
//! and to others, as fast as it can.
//!
//! What an intruder receives is not checked. The other clients are checked: no action of an intruder may
//! break a promise to them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngCore};

use super::actor::Board;
use super::checker::{Checker, Mine};
use super::client::Way;
use super::payload;
use crate::base::{
    Envelope, InviteId, MemberId, Now, RequestId, SessionId, SessionKind, Slot, StreamId, Timestamp, UserId,
};
use crate::rudp::{self, Connecting, Connection};
use crate::wire::command::{
    Broadcast, Create, Decline, Delete, InitialProperties, Invite, InvitedUsers, Join, Kick, Message,
    Recipients, Revoke, To, Transfer,
};
use crate::wire::{
    Admission, Body, CloseCode, Command, Delivery, IdleTtl, InviteTtl, MaxMembers, Note, OnOwnerLeave,
    PropertyKey, PropertyOp, PropertyOps, PropertyValue, Reason, Request, ServerMessage, SessionEvent,
    Settings, StreamKind, UserEvent, WriteRule,
};

/// An intruder and its state.
pub(super) struct Intruder {
    user: UserId,
    pub(super) addr: SocketAddr,
    link: Link,
    /// The sessions that it is in.
    seats: BTreeMap<Slot, Mine>,
    /// Commands for slots that were not given yet. If one is lost and sent again, it may find the slot given.
    early: BTreeMap<Slot, Vec<Request>>,
    invites: Vec<InviteId>,
    last_request: u32,
    pub(super) acts_at: Timestamp,
    /// Number of payloads sent.
    pub(super) sent: u64,
    /// Number of times that it entered a session.
    pub(super) entered: u64,
    /// Number of connections that the server closed for a protocol violation.
    pub(super) caught: u64,
    rng: StdRng,
}

enum Link {
    None,
    Connecting(Box<Connecting>),
    Open(Box<Connection>),
}

/// Mean time between two actions.
const PACE: Duration = Duration::from_millis(40);
/// Number of commands or messages in a flood.
const FLOOD: u32 = 300;
/// Longest time that a session it created is kept without members, in seconds.
const LONGEST_IDLE_S: u32 = 3;
/// Number of slots that it tries.
const SLOTS: u32 = 6;

impl Intruder {
    /// Returns the intruder with this number, at an address that no client has.
    pub(super) fn new(number: u8, rng: StdRng) -> Self {
        Self {
            user: UserId::new(&format!("intruder-{number}")).expect("invariant: a short id is legal"),
            addr: SocketAddr::from(([10, 254, 0, number], 1_024)),
            link: Link::None,
            seats: BTreeMap::new(),
            early: BTreeMap::new(),
            invites: Vec::new(),
            last_request: 0,
            acts_at: Timestamp::from_millis(500),
            sent: 0,
            entered: 0,
            caught: 0,
            rng,
        }
    }

    pub(super) fn user(&self) -> &UserId {
        &self.user
    }

    pub(super) fn next_at(&self) -> Option<Timestamp> {
        let due = match &self.link {
            Link::None => None,
            Link::Connecting(connecting) => connecting.poll_timeout(),
            Link::Open(connection) => connection.poll_timeout(),
        };
        due.into_iter().chain([self.acts_at]).min()
    }

    pub(super) fn deliver(&mut self, now: Timestamp, from: Envelope, datagram: BytesMut) {
        match &mut self.link {
            Link::None => {}
            Link::Connecting(connecting) => connecting.handle_datagram(now, datagram),
            // Whether the packet is dropped does not concern the intruder.
            Link::Open(connection) => drop(connection.handle_packet(now, from, datagram)),
        }
    }

    /// Does what is due, and sends. Its commands in a session are reported to the checker, because they
    /// affect others.
    pub(super) fn run(
        &mut self,
        now: Now,
        way: &Way,
        board: &Board,
        checker: &mut Checker,
        send: &mut dyn FnMut(Envelope, Bytes),
    ) {
        self.go_on(now.mono, checker);
        if self.acts_at <= now.mono {
            self.acts_at = now.mono + self.rng.random_range(Duration::from_millis(1)..=PACE * 2);
            match self.link {
                Link::None => {
                    let connecting = way.connecting(now, &self.user, &mut self.rng);
                    self.link = Link::Connecting(Box::new(connecting));
                }
                Link::Connecting(_) => {}
                Link::Open(_) => self.act(now.mono, board, checker),
            }
        }
        let mut out = BytesMut::new();
        loop {
            let to = match &mut self.link {
                Link::None => None,
                Link::Connecting(connecting) => {
                    connecting.poll_transmit(now.mono, &mut out).then_some(way.server.into())
                }
                Link::Open(connection) => connection.poll_transmit(now.mono, &mut out),
            };
            let Some(to) = to else { break };
            send(to, out.split().freeze());
        }
    }

    /// Closes the connection and does nothing more.
    pub(super) fn stop(&mut self, now: Timestamp) {
        self.acts_at = Timestamp::MAX;
        match &mut self.link {
            Link::Open(connection) => connection.close(now, CloseCode::None, ""),
            link => *link = Link::None,
        }
    }

    /// Runs timers and handles received messages.
    fn go_on(&mut self, now: Timestamp, checker: &mut Checker) {
        if let Link::Connecting(connecting) = &mut self.link {
            if connecting.poll_timeout().is_some_and(|at| at <= now) {
                connecting.handle_timeout(now);
            }
            match connecting.poll_outcome() {
                None => return,
                Some(Ok(connection)) => self.link = Link::Open(connection),
                Some(Err(_)) => self.link = Link::None,
            }
            self.seats.clear();
            self.early.clear();
            self.last_request = 0;
        }
        let Link::Open(connection) = &mut self.link else { return };
        if connection.poll_timeout().is_some_and(|at| at <= now) {
            connection.handle_timeout(now);
        }
        let mut heard = Vec::new();
        while let Some(event) = connection.poll_event() {
            match event {
                rudp::Event::Established | rudp::Event::AddressChanged(_) => {}
                rudp::Event::Message { stream, payload, .. } => heard.push((stream, payload)),
                rudp::Event::Closed(closed) => {
                    let code = CloseCode::ProtocolViolation;
                    let is_caught = matches!(closed, rudp::Closed::ByPeer { code: why, .. } if why == code);
                    self.caught += u64::from(is_caught);
                    self.seats.clear();
                }
            }
        }
        if connection.is_drained() {
            self.link = Link::None;
        }
        for (stream, payload) in heard {
            self.hear(stream, payload, checker);
        }
    }

    fn hear(&mut self, stream: Option<StreamId>, payload: Bytes, checker: &mut Checker) {
        let Some(stream) = stream else { return };
        let Ok(message) = ServerMessage::decode(StreamKind::of(stream), payload) else { return };
        let slot = Slot(stream.0);
        match message {
            ServerMessage::Session(SessionEvent::Snapshot(snapshot)) => {
                self.entered += 1;
                let mine = Mine { session: snapshot.session, member: snapshot.you, slot };
                self.seats.insert(slot, mine);
                let early = self.early.remove(&slot).unwrap_or_default();
                early.iter().for_each(|request| checker.strange(mine, request));
            }
            ServerMessage::Session(SessionEvent::MemberLeft { member, .. })
                if self.seats.get(&slot).is_some_and(|mine| mine.member == member) =>
            {
                self.seats.remove(&slot);
            }
            ServerMessage::Session(SessionEvent::SessionDeleted { .. }) => _ = self.seats.remove(&slot),
            ServerMessage::User(UserEvent::Invited(invitation)) => self.invites.push(invitation.invite),
            // An intruder may adopt a new connection id or ignore it.
            ServerMessage::User(UserEvent::Rehomed { connection: id }) => {
                if let Link::Open(connection) = &mut self.link
                    && self.rng.random()
                {
                    connection.rename(id);
                }
            }
            _ => {}
        }
    }

    fn act(&mut self, now: Timestamp, board: &Board, checker: &mut Checker) {
        match self.rng.random_range(0..40) {
            0 => (0..FLOOD).for_each(|_| self.command(now, board, checker)),
            1 => (0..FLOOD).for_each(|_| self.say(now)),
            2..6 => self.noise(now),
            6..22 => self.say(now),
            _ => self.command(now, board, checker),
        }
    }

    /// Returns usually one of its own slots, otherwise any slot.
    fn slot(&mut self) -> Slot {
        let own: Vec<Slot> = self.seats.keys().copied().collect();
        match own.choose(&mut self.rng) {
            Some(slot) if self.rng.random_bool(0.97) => *slot,
            _ => Slot(self.rng.random_range(0..SLOTS)),
        }
    }

    /// Sends a command, usually a legal one, on its own stream or occasionally on another.
    fn command(&mut self, now: Timestamp, board: &Board, checker: &mut Checker) {
        let request = self.request(board);
        let id = RequestId(if self.rng.random_bool(0.95) {
            self.last_request + 1
        } else {
            self.rng.random_range(0..20)
        });
        self.last_request = id.0;
        let mut bytes = Command::Request(id, request.clone()).encode().to_vec();
        if self.rng.random_bool(0.2) {
            self.damage(&mut bytes);
        }
        let on_slot = (request.stream_kind() == StreamKind::Slot) != self.rng.random_bool(0.02);
        let slot = if on_slot { self.slot() } else { Slot(0) };
        let bytes = Bytes::from(bytes);
        match Command::decode(StreamKind::of(slot.into()), bytes.clone()) {
            Ok(Command::Request(_, request)) => {
                // A session that outlives the run could not be told from one that the server failed to
                // delete.
                if matches!(&request, Request::Create(create) if create.settings.idle_ttl.get() > LONGEST_IDLE_S)
                {
                    return;
                }
                match self.seats.get(&slot) {
                    Some(mine) => checker.strange(*mine, &request),
                    None => self.early.entry(slot).or_default().push(request),
                }
            }
            // Its payload might lack the mark of an intruder's message.
            Ok(Command::Broadcast(_) | Command::Message(_)) => return,
            Err(_) => {}
        }
        self.send(now, slot, Delivery::ReliableOrdered, bytes);
    }

    /// Sends a message to all or some members, with the mark of an intruder's message.
    fn say(&mut self, now: Timestamp) {
        let delivery = self.delivery();
        let length = if self.rng.random_bool(0.02) { 20_000 } else { self.rng.random_range(0..400) };
        let payload = payload::strange(length);
        let Ok(body) = Body::new(delivery, payload) else { return };
        let counter = self.rng.random();
        let command = if self.rng.random_bool(0.7) {
            let to = if self.rng.random() { To::All } else { To::Others };
            Command::Broadcast(Broadcast { delivery, to, counter, body })
        } else {
            let count = self.rng.random_range(1..4);
            let mut members: Vec<MemberId> = (0..count).map(|_| self.member()).collect();
            members.sort_unstable();
            members.dedup();
            let Ok(to) = Recipients::new(members) else { return };
            Command::Message(Message { delivery, counter, to, body })
        };
        let mut bytes = command.encode().to_vec();
        if self.rng.random_bool(0.1) {
            // Does not change the payload, by which other clients recognize it.
            let bit = self.rng.random_range(0..32);
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte ^= 1 << (bit % 8);
            }
        }
        let slot = self.slot();
        let carried = if self.rng.random_bool(0.9) { delivery } else { self.delivery() };
        if carried == Delivery::Unreliable {
            bytes.insert(0, u8::try_from(slot.0 & 0x3f).unwrap_or_default());
        }
        self.send(now, slot, carried, bytes.into());
    }

    /// Sends random bytes.
    fn noise(&mut self, now: Timestamp) {
        let mut bytes = vec![0; self.rng.random_range(0..80)];
        self.rng.fill_bytes(&mut bytes);
        // Usually starts with a kind that exists.
        if let Some(first) = bytes.first_mut().filter(|_| self.rng.random_bool(0.7)) {
            *first &= 0x27;
        }
        bytes.extend_from_slice(&payload::strange(0));
        let (slot, delivery) = (self.slot(), self.delivery());
        let bytes = Bytes::from(bytes);
        if let Ok(Command::Request(..)) = Command::decode(StreamKind::of(slot.into()), bytes.clone()) {
            return;
        }
        self.send(now, slot, delivery, bytes);
    }

    fn send(&mut self, now: Timestamp, slot: Slot, delivery: Delivery, bytes: Bytes) {
        let Link::Open(connection) = &mut self.link else { return };
        let stream = StreamId::from(slot);
        // A client never opens a stream by itself; an intruder does.
        if !self.seats.contains_key(&slot) && slot != Slot(0) && self.rng.random_bool(0.05) {
            connection.open_stream(stream);
        }
        if connection.send(now, stream, delivery, bytes.into()).is_ok() {
            self.sent += 1;
        }
    }

    fn damage(&mut self, bytes: &mut Vec<u8>) {
        match self.rng.random_range(0..4) {
            0 => bytes.truncate(self.rng.random_range(0..=bytes.len())),
            1 => bytes.push(self.rng.random()),
            _ => {
                let at = self.rng.random_range(0..bytes.len().max(1));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << self.rng.random_range(0..8);
                }
            }
        }
    }

    fn member(&mut self) -> MemberId {
        MemberId(self.rng.random_range(0..12))
    }

    fn delivery(&mut self) -> Delivery {
        let key = if self.rng.random() { self.rng.random_range(0..3) } else { self.rng.random() };
        match self.rng.random_range(0..5) {
            0 => Delivery::Unreliable,
            1 => Delivery::Sequenced { key },
            2 => Delivery::ReliableUnordered,
            3 => Delivery::ReliableLatest { key },
            _ => Delivery::ReliableOrdered,
        }
    }

    fn session(&mut self, board: &Board) -> SessionId {
        match board.sessions().choose(&mut self.rng) {
            Some(session) if self.rng.random_bool(0.95) => *session,
            _ => SessionId(self.rng.random()),
        }
    }

    fn invite_id(&mut self, board: &Board) -> InviteId {
        match self.invites.last() {
            Some(invite) if self.rng.random_bool(0.3) => *invite,
            _ => InviteId { session: self.session(board), number: self.rng.random_range(0..12) },
        }
    }

    fn request(&mut self, board: &Board) -> Request {
        let reason = Reason::none();
        match self.rng.random_range(0..100) {
            0..8 => self.creation(),
            8..28 => Request::Join(Join::Session(self.session(board))),
            28..38 => Request::Join(Join::Invite(self.invite_id(board))),
            38..42 => Request::Decline(Decline { invite: self.invite_id(board), reason }),
            42..46 => Request::Info(self.session(board)),
            46..48 => Request::ListMine,
            48..50 => Request::ListInvites,
            50..60 => self.inviting(board),
            60..66 => Request::Revoke(Revoke { number: self.rng.random_range(0..12) }),
            66..70 => Request::Kick(Kick { member: self.member(), reason }),
            70..73 => Request::Transfer(Transfer { member: self.member() }),
            73 => Request::Delete(Delete { reason }),
            74..76 => Request::Leave,
            _ => self.properties(),
        }
    }

    fn creation(&mut self) -> Request {
        let rng = &mut self.rng;
        let settings = Settings {
            kind: SessionKind(rng.random()),
            max_members: MaxMembers::new(rng.random_range(1..=20))
                .expect("invariant: 1 to 20 seats are legal"),
            idle_ttl: IdleTtl::new(rng.random_range(0..=LONGEST_IDLE_S))
                .expect("invariant: 0 to 3 s are legal"),
            on_owner_leave: if rng.random() { OnOwnerLeave::Transfer } else { OnOwnerLeave::Delete },
            admission: if rng.random() { Admission::Open } else { Admission::Invited },
        };
        let properties = InitialProperties::new(Vec::new()).expect("invariant: none is legal");
        Request::Create(Create { settings, properties })
    }

    fn inviting(&mut self, board: &Board) -> Request {
        let count = self.rng.random_range(1..=6);
        let users = board.users().choose_multiple(&mut self.rng, count).cloned().collect();
        Request::Invite(Invite {
            users: InvitedUsers::new(users).expect("invariant: 1 to 6 users, none twice"),
            ttl: InviteTtl::new(self.rng.random_range(1..=8)).expect("invariant: 1 to 8 s are legal"),
            hold_seat: self.rng.random(),
            note: Note::none(),
        })
    }

    /// Returns changes of properties that the other clients do not use.
    fn properties(&mut self) -> Request {
        let rng = &mut self.rng;
        let count = rng.random_range(1..4);
        let ops = (0..count).map(|_| {
            let key = PropertyKey::new(&format!("strange-{}", rng.random_range(0..400)))
                .expect("invariant: a short key is legal");
            let bytes = if rng.random_bool(0.02) { 30_000 } else { rng.random_range(0..40) };
            let value = match rng.random() {
                true => PropertyValue::Integer(rng.random()),
                false => PropertyValue::bytes(vec![0; bytes].into()).expect("invariant: at most 64 KiB"),
            };
            let rule = Some(WriteRule::Creator).filter(|_| rng.random());
            match rng.random_range(0..4) {
                0 => PropertyOp::Delete { key },
                1 => PropertyOp::Increment { key, delta: rng.random() },
                2 => PropertyOp::CompareAndSet { key, expected: None, value: Some(value), rule },
                _ => PropertyOp::Set { key, value, rule },
            }
        });
        Request::SetProperties(PropertyOps::new(ops.collect()).expect("invariant: 1 to 3 operations"))
    }
}
