//! [`House`]: a whole server and its clients in virtual time, on a network without impairments.
//!
//! Clients are bare connections that send commands and keep what they receive. Everything runs on one thread,
//! in rounds, until nobody has anything to send; then the time may be advanced.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::base::{
    ConnectionId, Now, RequestId, SessionId, SessionKind, Slot, StreamId, Timestamp, Truncated, UnixTime,
    UserId, WorkerId, Writer,
};
use crate::net::Driven;
use crate::rudp::{Closed, ConnectError, Connecting, ConnectingConfig, Connection, ConnectionConfig, Event};
use crate::secure::TokenKey;
use crate::secure::token::{MintRequest, mint};
use crate::server::config::{self, Identity};
use crate::server::limits::Limits;
use crate::server::mailbox::MailRoom;
use crate::server::shared::Shared;
use crate::server::worker::Worker;
use crate::wire::command::{Create, InitialProperties, Invite, InvitedUsers, Join};
use crate::wire::result::Entered;
use crate::wire::{
    Admission, CloseCode, Command, Delivery, ErrorCode, IdleTtl, InviteTtl, MaxMembers, Note, OnOwnerLeave,
    Request, SealedHeader, ServerMessage, SessionEvent, Settings, StreamKind, UserEvent, Value,
};

pub(super) const SERVER: &str = "test.invalid:7777";

/// Workers, clients and the virtual time.
pub(super) struct House {
    pub(super) now: Now,
    pub(super) shared: Arc<Shared>,
    pub(super) workers: Vec<Worker>,
    woken: Vec<Arc<AtomicBool>>,
    /// Workers that had finished after a turn: their threads have ended.
    ended: Vec<bool>,
    clients: Vec<Client>,
    /// Addresses that clients have left.
    vacated: Vec<SocketAddr>,
    key: TokenKey,
    rng: StdRng,
}

/// Identifies a client of the house.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Who(usize);

struct Client {
    address: SocketAddr,
    /// Index of the worker to which the kernel would deliver its datagrams.
    worker: usize,
    connecting: Connecting,
    connection: Option<Connection>,
    failed: Option<ConnectError>,
    closed: Option<Closed>,
    received: Vec<(StreamId, ServerMessage)>,
    next_request: u32,
    /// Its datagrams are lost in both directions.
    unplugged: bool,
    /// Datagrams that reach it before those to it are lost.
    hears: usize,
}

impl House {
    pub(super) fn new(workers: u8, limits: Limits) -> Self {
        Self::with(workers, limits, |shared| shared)
    }

    /// Creates a house with what the program around the server adds to its state.
    pub(super) fn with(workers: u8, limits: Limits, add: impl FnOnce(Shared) -> Shared) -> Self {
        let mut rng = StdRng::seed_from_u64(7);
        let shared = Arc::new(add(Shared::new(limits.clone(), workers, &mut rng)));
        let key = TokenKey::from_bytes(&[7; 32]);
        let identity =
            Identity { protocol_id: 1, names: vec![SERVER.to_owned()], keys: Arc::new(key.into()) };
        let config = Arc::new(config::endpoint(identity, &limits));
        let machine = |id| {
            Worker::new(Arc::clone(&shared), Arc::clone(&config), id, StdRng::seed_from_u64(u64::from(id.0)))
        };
        let workers: Vec<_> = (0..workers).map(|id| machine(WorkerId(id))).collect();
        let woken: Vec<_> = workers.iter().map(|_| Arc::new(AtomicBool::new(false))).collect();
        for (id, woken) in shared.mailboxes.workers().zip(&woken) {
            let woken = Arc::clone(woken);
            shared
                .mailboxes
                .get(id)
                .unwrap()
                .set_wake(Box::new(move || woken.store(true, Ordering::Relaxed)));
        }
        let now = Now { mono: Timestamp::from_millis(1_000), wall: UnixTime::from_secs(1_700_000_000) };
        let key = TokenKey::from_bytes(&[7; 32]);
        let ended = vec![false; workers.len()];
        let (clients, vacated) = (Vec::new(), Vec::new());
        Self { now, shared, workers, woken, ended, clients, vacated, key, rng }
    }

    /// Creates a client that begins to connect as `user` through the socket of `worker`.
    pub(super) fn dial(&mut self, user: &str, worker: usize) -> Who {
        self.dial_with(user, worker, ConnectionConfig::default())
    }

    fn dial_with(&mut self, user: &str, worker: usize, connection: ConnectionConfig) -> Who {
        let request = MintRequest::new(UserId::new(user).unwrap(), SERVER.to_owned());
        let grant = mint(&self.key, request, self.now.wall, &mut self.rng).unwrap();
        let rng = StdRng::from_rng(&mut self.rng);
        let number = self.clients.len();
        let remote = server_address();
        let config = ConnectingConfig { connection, ..ConnectingConfig::new(1) };
        self.clients.push(Client {
            address: ([10, 0, 0, 1], 1_000 + number as u16).into(),
            worker: worker % self.workers.len(),
            connecting: Connecting::new(self.now.mono, SERVER, remote, &grant, config, rng),
            connection: None,
            failed: None,
            closed: None,
            received: Vec::new(),
            next_request: 1,
            unplugged: false,
            hears: usize::MAX,
        });
        Who(number)
    }

    /// Creates clients whose handshakes were answered and that have sent nothing since.
    pub(super) fn dial_up<const N: usize>(&mut self, users: [(&str, usize); N]) -> [Who; N] {
        let all = users.map(|(user, worker)| self.dial(user, worker));
        while all.iter().any(|who| self.clients[who.0].connection.is_none()) {
            assert!(self.round(), "somebody is not answered");
        }
        all
    }

    /// Creates a connected client.
    pub(super) fn connect(&mut self, user: &str, worker: usize) -> Who {
        self.connect_with(user, worker, ConnectionConfig::default())
    }

    /// Creates a connected client whose side has this configuration.
    pub(super) fn connect_with(&mut self, user: &str, worker: usize, connection: ConnectionConfig) -> Who {
        let who = self.dial_with(user, worker, connection);
        self.run();
        assert!(self.clients[who.0].connection.is_some(), "{user}: {:?}", self.clients[who.0].failed);
        who
    }

    /// Drops everything that a client sends and receives from now on.
    pub(super) fn unplug(&mut self, who: Who) {
        self.clients[who.0].unplugged = true;
    }

    /// Drops everything that a client receives from now on.
    pub(super) fn deafen(&mut self, who: Who) {
        self.hear(who, 0);
    }

    /// Lets a client receive so many datagrams, and then no more.
    pub(super) fn hear(&mut self, who: Who, datagrams: usize) {
        self.clients[who.0].hears = datagrams;
    }

    /// Lets a client receive again.
    pub(super) fn heal(&mut self, who: Who) {
        self.hear(who, usize::MAX);
    }

    /// Routes a client's datagrams to another worker's socket from now on.
    pub(super) fn reroute(&mut self, who: Who, worker: usize) {
        self.clients[who.0].worker = worker;
    }

    /// Gives a client another address, from which it is seen from now on.
    pub(super) fn move_to(&mut self, who: Who, address: SocketAddr) {
        self.vacated.push(std::mem::replace(&mut self.clients[who.0].address, address));
    }

    /// Delivers a client's datagrams to its worker, and runs nothing else.
    pub(super) fn run_socket(&mut self, who: Who) {
        self.run_sockets(&[who]);
    }

    /// Delivers the datagrams of clients of one worker to it, in one batch, and runs nothing else.
    pub(super) fn run_sockets(&mut self, all: &[Who]) {
        let mut batch = Vec::new();
        for who in all {
            let client = &mut self.clients[who.0];
            let from = client.address.into();
            batch.extend(client.take_datagrams(self.now.mono).into_iter().map(|datagram| (from, datagram)));
        }
        let worker = self.clients[all[0].0].worker;
        self.workers[worker].handle_datagrams(self.now, &mut batch.into_iter());
    }

    /// Lets several workers take a turn at the same time, each with the datagrams of its clients among `all`,
    /// or with its mail if it has none. Only inside of a `model`; runs nothing else.
    pub(super) fn race(&mut self, all: &[Who]) {
        let now = self.now;
        let mut batches: Vec<_> = self.workers.iter().map(|_| Vec::new()).collect();
        for who in all {
            let client = &mut self.clients[who.0];
            let from = client.address.into();
            let datagrams = client.take_datagrams(now.mono);
            batches[client.worker].extend(datagrams.into_iter().map(|datagram| (from, datagram)));
        }
        let turns = self.workers.drain(..).zip(batches).map(|(mut worker, batch)| {
            shuttle::thread::spawn(move || {
                match batch.is_empty() {
                    true => worker.handle_wake(now),
                    false => worker.handle_datagrams(now, &mut batch.into_iter()),
                }
                worker
            })
        });
        let turns: Vec<_> = turns.collect();
        self.workers.extend(turns.into_iter().map(|turn| turn.join().unwrap()));
    }

    /// Writes another connection id into a client's packets from now on.
    pub(super) fn rename(&mut self, who: Who, id: ConnectionId) {
        self.clients[who.0].connection.as_mut().unwrap().rename(id);
    }

    /// Changes the server's end of `user`'s connection, which then gets a packet that does not open.
    pub(super) fn tamper(&mut self, user: &str, change: impl FnOnce(&mut Connection)) {
        let id = self.shared.directory.live(&UserId::new(user).unwrap()).unwrap();
        let serves = |worker: &&mut Worker| worker.clients.endpoint.address(id).is_some();
        let worker = self.workers.iter_mut().find(serves).unwrap();
        let connection = worker.clients.endpoint.connection(id).unwrap();
        change(connection);
        let from = connection.remote().into();
        let mut packet = Writer::new();
        let number = Truncated::bits32(1 << 20);
        SealedHeader { key_phase: false, connection: Some(id), number }.write(&mut packet);
        packet.slice(&[0; 40]);
        worker.handle_datagrams(self.now, &mut [(from, packet.into_inner())].into_iter());
    }

    /// Runs until nobody has anything to send, without advancing the time.
    pub(super) fn run(&mut self) {
        while self.round() {}
    }

    /// Checks that all mail has been handled and has given its room back.
    pub(super) fn check_mailboxes(&mut self) {
        self.run();
        for worker in self.shared.mailboxes.workers().filter(|worker| !self.ended[usize::from(worker.0)]) {
            let taken = self.shared.mailboxes.get(worker).unwrap().taken();
            assert_eq!(taken, MailRoom::default(), "of worker {worker}");
        }
    }

    /// Advances the time, stopping at every deadline of a worker or client.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        loop {
            self.run();
            let next = self.next_deadline().unwrap_or(end).max(self.now.mono + Duration::from_micros(1));
            if next > end {
                break;
            }
            self.advance_to(next);
        }
        self.advance_to(end);
        self.run();
    }

    fn advance_to(&mut self, at: Timestamp) {
        let passed = at.since(self.now.mono);
        self.now = Now { mono: at, wall: self.now.wall + passed };
        for (worker, _) in self.workers.iter_mut().zip(&self.ended).filter(|(_, ended)| !**ended) {
            if worker.poll_timeout().is_some_and(|due| due <= at) {
                worker.handle_timeout(self.now);
            }
        }
        for client in &mut self.clients {
            client.handle_timeout(at);
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let workers = self.workers.iter().zip(&self.ended).filter(|(_, ended)| !**ended);
        let workers = workers.filter_map(|(worker, _)| worker.poll_timeout());
        workers.chain(self.clients.iter().filter_map(Client::poll_timeout)).min()
    }

    /// Runs every client and worker once; returns false if none had anything to do.
    pub(super) fn round(&mut self) -> bool {
        let mut busy = false;
        let now = self.now;
        for client in &mut self.clients {
            let from = client.address;
            let datagrams = client.take_datagrams(now.mono);
            let batch: Vec<_> = datagrams.into_iter().map(|datagram| (from.into(), datagram)).collect();
            if !batch.is_empty() && !client.unplugged && !self.ended[client.worker] {
                busy = true;
                self.workers[client.worker].handle_datagrams(now, &mut batch.into_iter());
            }
        }
        for ((worker, woken), ended) in self.workers.iter_mut().zip(&self.woken).zip(&mut self.ended) {
            if *ended {
                continue;
            }
            if woken.swap(false, Ordering::Relaxed) {
                busy = true;
                worker.handle_wake(now);
            }
            // As the loop does, before anything is sent.
            if worker.poll_timeout().is_some_and(|due| due <= now.mono) {
                busy = true;
                worker.handle_timeout(now);
            }
            let mut out = BytesMut::new();
            while let Some(to) = worker.poll_transmit(now, &mut out) {
                busy = true;
                let datagram = out.split();
                let receiver = self.clients.iter_mut().find(|client| client.address == to.route.remote);
                let Some(receiver) = receiver else {
                    assert!(self.vacated.contains(&to.route.remote), "nobody was ever at {to:?}");
                    continue;
                };
                if !receiver.unplugged && receiver.hears > 0 {
                    receiver.hears -= 1;
                    receiver.handle_datagram(now.mono, datagram);
                }
            }
            *ended = worker.is_finished();
        }
        busy
    }

    /// Sends a request, and runs nothing.
    pub(super) fn send(&mut self, who: Who, slot: Option<Slot>, request: Request) -> RequestId {
        let now = self.now.mono;
        let client = &mut self.clients[who.0];
        let id = RequestId(client.next_request);
        client.next_request += 1;
        let stream = slot.map_or(StreamId::CONTROL, StreamId::from);
        let command = Command::Request(id, request).encode();
        client
            .connection
            .as_mut()
            .unwrap()
            .send(now, stream, Delivery::ReliableOrdered, command.into())
            .unwrap();
        id
    }

    /// Sends bytes as a message, unchanged.
    pub(super) fn send_raw(&mut self, who: Who, stream: StreamId, delivery: Delivery, bytes: Bytes) {
        let now = self.now.mono;
        let connection = self.clients[who.0].connection.as_mut().unwrap();
        connection.open_stream(stream);
        connection.send(now, stream, delivery, bytes.into()).unwrap();
    }

    /// Returns the answer to a request, which must have arrived.
    pub(super) fn answer(&self, who: Who, id: RequestId) -> Result<Value, ErrorCode> {
        let answers = self.clients[who.0].received.iter().filter_map(|(_, message)| match message {
            ServerMessage::Result(result) if result.request == id => Some(result.outcome.clone()),
            _ => None,
        });
        let answers: Vec<_> = answers.collect();
        assert_eq!(answers.len(), 1, "one answer to a request");
        answers.into_iter().next().unwrap()
    }

    /// Returns the stream on which a request was answered.
    pub(super) fn answered_on(&self, who: Who, id: RequestId) -> Option<StreamId> {
        let mut received = self.clients[who.0].received.iter();
        let is_answer = |message: &ServerMessage| matches!(message, ServerMessage::Result(result) if result.request == id);
        received.find(|(_, message)| is_answer(message)).map(|(stream, _)| *stream)
    }

    /// Sends a request, runs until it is answered, and returns the answer.
    pub(super) fn ask(&mut self, who: Who, slot: Option<Slot>, request: Request) -> Result<Value, ErrorCode> {
        let id = self.send(who, slot, request);
        self.run();
        self.answer(who, id)
    }

    pub(super) fn create(&mut self, who: Who, max_members: u16, admission: Admission) -> Entered {
        match self.ask(who, None, create(max_members, admission)) {
            Ok(Value::Entered(entered)) => entered,
            other => panic!("create: {other:?}"),
        }
    }

    pub(super) fn join_open(&mut self, who: Who, session: SessionId) -> Result<Entered, ErrorCode> {
        self.ask(who, None, Request::Join(Join::Session(session))).map(|value| match value {
            Value::Entered(entered) => entered,
            other => panic!("join: {other:?}"),
        })
    }

    pub(super) fn invite(
        &mut self,
        who: Who,
        slot: Slot,
        users: &[&str],
        ttl_secs: u32,
    ) -> Vec<Result<u32, ErrorCode>> {
        match self.ask(who, Some(slot), invite(users, ttl_secs)) {
            Ok(Value::Invited(answers)) => answers,
            other => panic!("invite: {other:?}"),
        }
    }

    /// Takes the events of a slot that have arrived since the last call.
    pub(super) fn events(&mut self, who: Who, slot: Slot) -> Vec<SessionEvent> {
        let of_slot = |stream: StreamId, message: &ServerMessage| match message {
            ServerMessage::Session(event) if stream == slot.into() => Some(event.clone()),
            _ => None,
        };
        let received = &mut self.clients[who.0].received;
        let events = received.iter().filter_map(|(stream, message)| of_slot(*stream, message)).collect();
        received.retain(|(stream, message)| of_slot(*stream, message).is_none());
        events
    }

    /// Returns everything that has arrived on a slot's stream, in order, except the events that were taken.
    pub(super) fn told(&self, who: Who, slot: Slot) -> Vec<ServerMessage> {
        let received = self.clients[who.0].received.iter();
        received.filter(|(stream, _)| *stream == slot.into()).map(|(_, message)| message.clone()).collect()
    }

    /// Returns everything that has arrived at a client, in the order of arrival.
    pub(super) fn arrived(&self, who: Who) -> impl Iterator<Item = &ServerMessage> {
        self.clients[who.0].received.iter().map(|(_, message)| message)
    }

    /// Takes the user's events that have arrived since the last call.
    pub(super) fn user_events(&mut self, who: Who) -> Vec<UserEvent> {
        let received = &mut self.clients[who.0].received;
        let events = received.iter().filter_map(|(_, message)| match message {
            ServerMessage::User(event) => Some(event.clone()),
            _ => None,
        });
        let events = events.collect();
        received.retain(|(_, message)| !matches!(message, ServerMessage::User(_)));
        events
    }

    /// Returns the code with which the server has closed a client's connection.
    pub(super) fn closed_with(&self, who: Who) -> Option<CloseCode> {
        match self.clients[who.0].closed.as_ref()? {
            Closed::ByPeer { code, .. } => Some(*code),
            other => panic!("not closed by the server: {other}"),
        }
    }

    /// Returns why a client failed to connect.
    pub(super) fn failed_with(&self, who: Who) -> Option<ConnectError> {
        self.clients[who.0].failed
    }

    /// Closes a connection from the client's side.
    pub(super) fn hang_up(&mut self, who: Who) {
        self.begin_hang_up(who);
        self.run();
    }

    /// Closes a connection from the client's side, and runs nothing.
    pub(super) fn begin_hang_up(&mut self, who: Who) {
        let now = self.now.mono;
        self.clients[who.0].connection.as_mut().unwrap().close(now, CloseCode::None, "");
    }
}

fn server_address() -> SocketAddr {
    ([127, 0, 0, 1], 7_777).into()
}

impl Client {
    fn handle_datagram(&mut self, now: Timestamp, datagram: BytesMut) {
        match &mut self.connection {
            Some(connection) => {
                let _ = connection.handle_packet(now, server_address().into(), datagram);
            }
            None => self.connecting.handle_datagram(now, datagram),
        }
        self.take_outputs();
    }

    fn handle_timeout(&mut self, now: Timestamp) {
        match &mut self.connection {
            Some(connection) => connection.handle_timeout(now),
            None => self.connecting.handle_timeout(now),
        }
        self.take_outputs();
    }

    fn take_outputs(&mut self) {
        match self.connecting.poll_outcome() {
            Some(Ok(connection)) => self.connection = Some(*connection),
            Some(Err(error)) => self.failed = Some(error),
            None => {}
        }
        while let Some(event) = self.connection.as_mut().and_then(Connection::poll_event) {
            match event {
                Event::Established | Event::AddressChanged(_) => {}
                Event::Closed(closed) => self.closed = Some(closed),
                Event::Message { stream, delivery, payload } => self.take_message(stream, delivery, payload),
            }
        }
    }

    /// Keeps a message, after a check that it arrived with the delivery of its kind.
    fn take_message(&mut self, stream: Option<StreamId>, delivery: Delivery, mut payload: Bytes) {
        let stream = stream.unwrap_or_else(|| {
            // Slots of these tests fit the one-byte form.
            StreamId(u32::from(payload.split_to(1)[0]))
        });
        let message = ServerMessage::decode(StreamKind::of(stream), payload).unwrap();
        let wanted = match &message {
            ServerMessage::Session(SessionEvent::Sent { delivery, .. }) => *delivery,
            ServerMessage::User(UserEvent::Lagging) => Delivery::ReliableUnordered,
            _ => Delivery::ReliableOrdered,
        };
        assert_eq!(delivery.mode(), wanted.mode(), "{message:?}");
        self.received.push((stream, message));
    }

    fn take_datagrams(&mut self, now: Timestamp) -> Vec<BytesMut> {
        let mut out = BytesMut::new();
        let mut datagrams = Vec::new();
        loop {
            let more = match &mut self.connection {
                Some(connection) => connection.poll_transmit(now, &mut out).is_some(),
                None => self.connecting.poll_transmit(now, &mut out),
            };
            if !more {
                return datagrams;
            }
            datagrams.push(out.split());
        }
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        match &self.connection {
            Some(connection) => connection.poll_timeout(),
            None => self.connecting.poll_timeout(),
        }
    }
}

pub(super) fn create(max_members: u16, admission: Admission) -> Request {
    Request::Create(Create {
        settings: Settings {
            kind: SessionKind(5),
            max_members: MaxMembers::new(max_members).unwrap(),
            idle_ttl: IdleTtl::new(0).unwrap(),
            on_owner_leave: OnOwnerLeave::Transfer,
            admission,
        },
        properties: InitialProperties::default(),
    })
}

pub(super) fn invite(users: &[&str], ttl_secs: u32) -> Request {
    let users = users.iter().map(|user| UserId::new(user).unwrap()).collect();
    Request::Invite(Invite {
        users: InvitedUsers::new(users).unwrap(),
        ttl: InviteTtl::new(ttl_secs).unwrap(),
        hold_seat: false,
        note: Note::none(),
    })
}
