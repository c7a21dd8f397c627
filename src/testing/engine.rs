//! [`Engine`]: one worker and its clients without a network, to measure what a delivery costs the worker.
//!
//! Datagrams arrive at once and none is lost. The clock is virtual: clients send at random phases, acks and
//! timers are those of a real server, and a run is repeatable. The caller decides what is measured: its
//! [`Meter`] is notified when the worker begins and ends a turn.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::entrance::{Entrance, WALL};
use crate::base::{Envelope, Now, Route, SessionId, Slot, Timestamp, WorkerId};
use crate::client::core::{Core, Event, Output};
use crate::net::Driven;
use crate::rudp::MemoryBudget;
use crate::server::config;
use crate::server::counters::Totals;
use crate::server::limits::Limits;
use crate::server::shared::Shared;
use crate::server::worker::Worker;
use crate::wire::command::To;
use crate::wire::{Delivery, LeaveReason};

/// Is notified when the worker works: around each turn, from its first datagram to its last.
pub trait Meter {
    /// Called when a turn begins.
    fn start(&mut self);
    /// Called when the turn has ended.
    fn stop(&mut self);
}

/// One worker and its clients. See the [module](self).
pub struct Engine {
    now: Timestamp,
    entrance: Entrance,
    shared: Arc<Shared>,
    worker: Worker,
    /// Budget of the messages that the worker's connections queue for sending.
    queued: MemoryBudget,
    /// Datagrams on their way to the worker.
    up: Vec<(Envelope, BytesMut)>,
    /// Time at which the worker takes them: one turn length after the first arrived.
    taken_at: Timestamp,
    turn_length: Duration,
    /// Buffers for datagrams on their way to clients; the first `sent` are in use, and all are reused.
    down: Vec<(Envelope, BytesMut)>,
    sent: usize,
    clients: Vec<Client>,
    /// Clients that act by themselves, by time.
    due: BTreeSet<(Timestamp, usize)>,
    /// Time between two messages of a member.
    period: Duration,
    delivered: u64,
    latest: Duration,
    told_of_lagging: u64,
    datagrams: u64,
    rng: StdRng,
}

/// A client; a lost one has no core, and takes little memory.
struct Client {
    core: Option<Box<Core>>,
    session: Option<(SessionId, Slot)>,
    /// Time of its next message; [`Timestamp::MAX`] for never.
    speaks_at: Timestamp,
    /// The time of its entry in `due`.
    due_at: Timestamp,
}

/// Size of a message in bytes.
const MESSAGE_BYTES: usize = 64;
/// Default minimum time between turns of the worker; datagrams that arrive in between are one batch.
const TURN: Duration = Duration::from_micros(50);
/// Long enough for a handshake or a join, and for the traffic that follows.
const QUIET: Duration = Duration::from_secs(2);
/// Clients that connect or send a command at the same time: fewer than may be half-open, and fewer than the
/// entries a mailbox holds.
const ARRIVALS: usize = 1_024;
/// Every client's keepalive, long enough not to disturb the sessions.
const KEEPALIVE_MS: u64 = 200_000;

impl Engine {
    /// Returns a worker without clients. All randomness follows from `seed`.
    pub fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let limits = Limits {
            max_connections: 1_000_000,
            max_half_open: 65_536,
            max_sessions: 1_000_000,
            idle_timeout_ms: 3 * KEEPALIVE_MS,
            keepalive_ms: KEEPALIVE_MS,
            ..Limits::default()
        };
        let entrance = Entrance::new(limits.clone(), &mut rng);
        let config = Arc::new(config::endpoint(entrance.identity(), &limits));
        let queued = config.budgets.send.clone();
        let shared = Arc::new(Shared::new(limits, 1, &mut rng));
        let worker = Worker::new(Arc::clone(&shared), config, WorkerId(0), StdRng::from_rng(&mut rng));
        Self {
            now: Timestamp::ZERO,
            entrance,
            shared,
            worker,
            queued,
            up: Vec::new(),
            taken_at: Timestamp::ZERO,
            turn_length: TURN,
            down: Vec::new(),
            sent: 0,
            clients: Vec::new(),
            due: BTreeSet::new(),
            period: Duration::MAX,
            delivered: 0,
            latest: Duration::ZERO,
            told_of_lagging: 0,
            datagrams: 0,
            rng,
        }
    }

    /// Connects `count` clients that do nothing. Afterwards only the worker keeps state of them.
    pub fn add_idle(&mut self, count: usize) {
        let first = self.clients.len();
        self.add_clients(count);
        // Includes a keepalive, because a connection at rest frees the memory that its last packet took.
        self.run(Duration::from_millis(KEEPALIVE_MS) + QUIET * 2, &mut Unmetered);
        (first..self.clients.len()).for_each(|client| self.lose(client));
        // Neither these nor the datagram buffers are the worker's memory.
        self.clients.shrink_to_fit();
        (self.up, self.down) = (Vec::new(), Vec::new());
    }

    fn add_clients(&mut self, count: usize) {
        let all = self.clients.len() + count;
        while self.clients.len() < all {
            self.connect(ARRIVALS.min(all - self.clients.len()));
            self.run(QUIET, &mut Unmetered);
        }
    }

    /// Adds `count` sessions with `members` clients in each.
    pub fn add_sessions(&mut self, count: usize, members: u16) {
        let first = self.clients.len();
        let seats = usize::from(members);
        self.add_clients(count * seats);
        let creators: Vec<_> = (first..self.clients.len()).step_by(seats).collect();
        self.act_all(&creators, |_, core, now| Entrance::create(core, now, members));
        let sessions: Vec<_> = self.clients.iter().map(|client| client.session).collect();
        let joiners: Vec<_> =
            (first..self.clients.len()).filter(|index| !(index - first).is_multiple_of(seats)).collect();
        self.act_all(&joiners, |index, core, now| {
            let creator = index - (index - first) % seats;
            let (session, _) = sessions
                .get(creator)
                .copied()
                .flatten()
                .expect("invariant: nothing keeps the creator from its session");
            Entrance::join(core, now, session);
        });
    }

    /// Sets the turn length: from now on datagrams that arrive within `length` are one batch, as in a worker
    /// whose core is nearly full.
    pub fn set_turn_length(&mut self, length: Duration) {
        self.turn_length = length;
    }

    /// From now on every member of a session sends an ordered broadcast to all once per `period`, starting at
    /// a random phase.
    pub fn talk(&mut self, period: Duration) {
        self.period = period;
        for index in 0..self.clients.len() {
            let at = self.now + self.rng.random_range(Duration::ZERO..period);
            if let Some(client) = self.clients.get_mut(index).filter(|client| client.session.is_some()) {
                client.speaks_at = at;
            }
            self.arm(index);
        }
    }

    /// Stops a client from sending; it still receives. Clients are numbered in the order in which they were
    /// added.
    pub fn mute(&mut self, client: usize) {
        if let Some(client) = self.clients.get_mut(client) {
            client.speaks_at = Timestamp::MAX;
        }
        self.arm(client);
    }

    /// Removes a client silently: it no longer receives or acknowledges anything.
    pub fn lose(&mut self, client: usize) {
        if let Some(client) = self.clients.get_mut(client) {
            client.core = None;
        }
        self.mute(client);
    }

    /// Advances the virtual time by `time`.
    pub fn run(&mut self, time: Duration, meter: &mut dyn Meter) {
        let end = self.now + time;
        loop {
            let client = self.due.first().map(|(at, _)| *at);
            let turn = if self.up.is_empty() { self.worker.poll_timeout() } else { Some(self.taken_at) };
            let Some(next) = [client, turn].into_iter().flatten().min().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            while let Some((at, index)) = self.due.first().copied().filter(|(at, _)| *at <= self.now) {
                debug_assert!(at <= self.now);
                self.run_client(index, None);
            }
            if turn.is_some_and(|turn| turn <= self.now) {
                self.turn(meter);
                self.hand_out();
            }
        }
        self.now = end;
    }

    /// Returns the number of messages that reached a member.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Returns the longest delivery time since the last call.
    pub fn take_latest(&mut self) -> Duration {
        std::mem::take(&mut self.latest)
    }

    /// Returns how often a member was notified that another was removed because it lagged.
    pub fn told_of_lagging(&self) -> u64 {
        self.told_of_lagging
    }

    /// Returns the bytes of messages that the worker keeps until they are acknowledged, beyond the first 160
    /// KiB of each connection.
    pub fn queued_bytes(&self) -> usize {
        self.queued.held()
    }

    /// Returns the worker's counters.
    pub fn counters(&self) -> Totals {
        self.shared.totals()
    }

    /// Returns the number of datagrams that the worker has sent.
    pub fn datagrams(&self) -> u64 {
        self.datagrams
    }

    fn now(&self) -> Now {
        Now { mono: self.now, wall: WALL + self.now.since(Timestamp::ZERO) }
    }

    /// Lets the worker take the datagrams that have arrived and send its responses.
    #[inline(never)] // Profilers are told its name.
    fn turn(&mut self, meter: &mut dyn Meter) {
        let now = self.now();
        let Self { worker, up, down, .. } = self;
        meter.start();
        if !up.is_empty() {
            worker.handle_datagrams(now, &mut up.drain(..));
        }
        if worker.poll_timeout().is_some_and(|at| at <= now.mono) {
            worker.handle_timeout(now);
        }
        let mut sent = 0;
        loop {
            if sent == down.len() {
                down.push((client_address(0).into(), BytesMut::with_capacity(SLOT_BYTES)));
            }
            let Some((to, datagram)) = down.get_mut(sent) else { break };
            datagram.clear();
            match worker.poll_transmit(now, datagram) {
                Some(receiver) => *to = receiver,
                None => break,
            }
            sent += 1;
        }
        meter.stop();
        self.sent = sent;
        self.datagrams += sent as u64;
    }

    /// Delivers to clients what the worker has sent.
    fn hand_out(&mut self) {
        let down = std::mem::take(&mut self.down);
        for (to, datagram) in down.iter().take(self.sent) {
            self.run_client(client_index(to.route.remote), Some(BytesMut::from(datagram.as_ref())));
        }
        self.down = down;
    }

    fn run_client(&mut self, index: usize, datagram: Option<BytesMut>) {
        let now = self.now;
        let (server, period) = (self.entrance.server, self.period);
        let Some(client) = self.clients.get_mut(index) else { return };
        if let Some(core) = &mut client.core {
            if let Some(datagram) = datagram {
                core.handle_datagram(now, server.into(), datagram);
            }
            if core.poll_timeout().is_some_and(|at| at <= now) {
                core.handle_timeout(now);
            }
            while let Some(output) = core.poll_output() {
                match output {
                    Output::Event(Event::Entered { slot, session, .. }) => {
                        client.session = Some((session, slot));
                    }
                    Output::Event(Event::Message { payload, .. }) => {
                        self.delivered += 1;
                        self.latest = self.latest.max(now.since(sent_at(&payload)));
                    }
                    Output::Event(Event::MemberLeft { why: LeaveReason::Lagging, .. }) => {
                        self.told_of_lagging += 1;
                    }
                    Output::Event(Event::Disconnected(why)) => panic!("a client is disconnected: {why}"),
                    _ => {}
                }
            }
            if client.speaks_at <= now
                && let Some((_, slot)) = client.session
            {
                client.speaks_at += period;
                core.broadcast(now, slot, To::All, Delivery::ReliableOrdered, message(now))
                    .expect("invariant: little is under way");
            }
            let mut out = BytesMut::new();
            while let Some(Envelope { ecn, .. }) = core.poll_transmit(now, &mut out) {
                if self.up.is_empty() {
                    self.taken_at = now + self.turn_length;
                }
                self.up.push((Route::from(client_address(index)).marked(ecn), out.split()));
            }
        }
        self.arm(index);
    }

    fn arm(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else { return };
        let timeout = client.core.as_ref().and_then(|core| core.poll_timeout());
        let at = timeout.map_or(client.speaks_at, |timeout| timeout.min(client.speaks_at));
        if at != client.due_at {
            self.due.remove(&(client.due_at, index));
            client.due_at = at;
            if at < Timestamp::MAX {
                self.due.insert((at, index));
            }
        }
    }

    fn connect(&mut self, count: usize) {
        for _ in 0..count {
            let index = self.clients.len();
            let core = Some(Box::new(self.entrance.connect(self.now(), index, &mut self.rng)));
            let never = Timestamp::MAX;
            self.clients.push(Client { core, session: None, speaks_at: never, due_at: never });
            self.run_client(index, None);
        }
    }

    /// Has the given clients send a command, and waits for the answers.
    fn act_all(&mut self, clients: &[usize], ask: impl Fn(usize, &mut Core, Timestamp)) {
        for some in clients.chunks(ARRIVALS) {
            let now = self.now;
            for &index in some {
                if let Some(core) = self.clients.get_mut(index).and_then(|client| client.core.as_deref_mut())
                {
                    ask(index, core, now);
                }
                self.run_client(index, None);
            }
            self.run(QUIET, &mut Unmetered);
        }
    }
}

/// Returns a message that contains the time of its sending.
fn message(now: Timestamp) -> Bytes {
    let mut bytes = [7; MESSAGE_BYTES];
    let (time, _) = bytes.split_first_chunk_mut().expect("invariant: longer than a time");
    *time = now.as_micros().to_be_bytes();
    Bytes::copy_from_slice(&bytes)
}

fn sent_at(message: &[u8]) -> Timestamp {
    let time = message.first_chunk().expect("invariant: made by `message`");
    Timestamp::from_micros(u64::from_be_bytes(*time))
}

/// Capacity of a send buffer, as in a socket's batch.
const SLOT_BYTES: usize = 1_500;

struct Unmetered;

impl Meter for Unmetered {
    fn start(&mut self) {}
    fn stop(&mut self) {}
}

fn client_address(index: usize) -> SocketAddr {
    let index = u32::try_from(index).expect("invariant: fewer clients than addresses");
    SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + index), 4_000))
}

fn client_index(addr: SocketAddr) -> usize {
    match addr.ip() {
        IpAddr::V4(ip) => (u32::from(ip) - 0x0a00_0000) as usize,
        IpAddr::V6(_) => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_hears_every_message() {
        let mut engine = Engine::new(1);
        engine.add_idle(3);
        engine.add_sessions(2, 4);
        engine.talk(Duration::from_millis(100));
        engine.run(Duration::from_secs(1), &mut Unmetered);
        engine.run(Duration::from_millis(90), &mut Unmetered);
        assert_eq!(engine.counters().connections, 11);
        let sent = 2 * 4 * 10..=2 * 4 * 11;
        assert!((sent.start() * 4..=sent.end() * 4).contains(&engine.delivered()), "{}", engine.delivered());
    }

    #[test]
    fn the_worker_takes_its_turn_however_busy_the_clients_are() {
        let mut engine = Engine::new(1);
        engine.add_sessions(40, 4);
        engine.talk(Duration::from_millis(2));
        engine.run(Duration::from_millis(20), &mut Unmetered);
        assert!(engine.take_latest() <= TURN * 2);
        assert!(engine.delivered() >= 40 * 4 * 4 * 9, "{}", engine.delivered());
    }

    #[test]
    fn a_member_that_is_lost_delays_nobody_and_is_removed() {
        let mut engine = Engine::new(1);
        engine.add_sessions(1, 4);
        engine.talk(Duration::from_millis(2));
        engine.lose(3);
        engine.run(Duration::from_secs(30), &mut Unmetered);
        assert!(engine.take_latest() <= TURN * 2);
        assert_eq!((engine.counters().connections_lagging, engine.told_of_lagging()), (1, 3));
        assert_eq!((engine.counters().connections, engine.queued_bytes()), (3, 0));
    }
}
