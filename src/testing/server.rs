//! A server's workers without threads and sockets: each takes its turns at times drawn from the seed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::rngs::StdRng;
use rand::seq::IndexedMutRandom;
use rand::{Rng, SeedableRng};

use super::scenario::Scenario;
use super::simulation::{later, with_renewals};
use crate::base::{Envelope, Now, Timestamp};
use crate::net::Driven;
use crate::rudp::EndpointConfig;
use crate::server::config::{self, Identity};
use crate::server::limits::Limits;
use crate::server::shared::Shared;
use crate::server::worker::Worker;
use crate::wire::packet::SealedHeader;

/// The workers of one server and what they share.
pub(super) struct SimServer {
    shared: Arc<Shared>,
    workers: Vec<Thread>,
    /// The system steers datagrams by connection id.
    steers: bool,
    /// Mean time between two stalls of any workers, and the time of the next.
    stalls: Option<Duration>,
    pub(super) stalls_at: Timestamp,
    rng: StdRng,
}

/// A worker and the thread that would run it.
struct Thread {
    worker: Worker,
    /// The datagrams that wait in its socket.
    socket: VecDeque<(Envelope, BytesMut)>,
    /// Set by whichever thread has put mail into its mailbox.
    woken: Arc<AtomicBool>,
    /// Time of its next run for datagrams or mail.
    runs_at: Option<Timestamp>,
    /// Time at which its last turn or stall is over.
    idle_from: Timestamp,
    /// How far its clock reading is behind: it was taken before the newest datagrams arrived.
    lag: Duration,
    /// Whether the worker has finished all its work.
    has_ended: bool,
}

/// Maximum number of datagrams that one turn takes from a socket.
const BATCH: usize = 64;
/// Maximum lag of a worker's clock reading.
const LONGEST_LAG: Duration = Duration::from_millis(3);
/// Longest time that a thread takes to notice a datagram or a wake-up.
const SLOWEST_START: Duration = Duration::from_micros(400);
/// Longest time for which a thread stalls, as on a machine with too few cores.
const LONGEST_STALL: Duration = Duration::from_millis(400);

impl SimServer {
    pub(super) fn new(workers: u8, limits: Limits, identity: Identity, rng: StdRng) -> Self {
        let config = config::endpoint(identity, &limits);
        Self::with_config(workers, limits, config, rng)
    }

    /// Returns the server of a scenario.
    pub(super) fn of(scenario: &Scenario, identity: Identity, rng: StdRng) -> Self {
        let mut config = config::endpoint(identity, &scenario.limits);
        config.connection = with_renewals(config.connection, scenario.renew_keys_after);
        let mut server = Self::with_config(scenario.workers, scenario.limits.clone(), config, rng);
        server.stalls = scenario.stalls;
        server.stalls_at = later(scenario.stalls, Timestamp::ZERO, &mut server.rng);
        server
    }

    fn with_config(workers: u8, limits: Limits, config: EndpointConfig, mut rng: StdRng) -> Self {
        let config = Arc::new(config);
        let shared = Arc::new(Shared::new(limits, workers, &mut rng));
        let workers = shared.mailboxes.workers().map(|id| {
            let woken = Arc::new(AtomicBool::new(false));
            let flag = Arc::clone(&woken);
            if let Some(mailbox) = shared.mailboxes.get(id) {
                mailbox.set_wake(Box::new(move || flag.store(true, Ordering::Relaxed)));
            }
            let lag = rng.random_range(Duration::ZERO..=LONGEST_LAG);
            let rng = StdRng::from_rng(&mut rng);
            let worker = Worker::new(Arc::clone(&shared), Arc::clone(&config), id, rng);
            Thread {
                worker,
                socket: VecDeque::new(),
                woken,
                runs_at: None,
                idle_from: Timestamp::ZERO,
                lag,
                has_ended: false,
            }
        });
        let workers = workers.collect();
        Self { shared, workers, steers: rng.random(), stalls: None, stalls_at: Timestamp::MAX, rng }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Delivers a datagram to the socket that the system would choose: by the sender's address, or by the
    /// connection id if the system steers. The socket of a worker that has ended is closed, and its datagrams
    /// reach the others.
    pub(super) fn deliver(&mut self, now: Timestamp, from: Envelope, datagram: BytesMut) {
        let start = self.starts_at(now);
        let named = SealedHeader::connection_of(&datagram).filter(|_| self.steers);
        let named = named.map(|id| usize::from(id.worker().0));
        let is_open = |thread: &&mut Thread| !thread.has_ended;
        if let Some(thread) = named.and_then(|worker| self.workers.get_mut(worker)).filter(is_open) {
            return thread.receive(start, from, datagram);
        }
        let count = self.workers.iter().filter(|thread| !thread.has_ended).count().max(1);
        let mut open = self.workers.iter_mut().filter(is_open);
        if let Some(thread) = open.nth(usize::from(from.route.remote.port()) % count) {
            thread.receive(start, from, datagram);
        }
    }

    /// Runs the workers that are due, in an order drawn from the seed; `send` takes what they send.
    pub(super) fn run(&mut self, now: Now, send: &mut dyn FnMut(Envelope, Bytes)) {
        self.stall(now.mono);
        let count = self.workers.len().max(1);
        let first = self.rng.random_range(0..count);
        for index in (0..count).map(|step| (first + step) % count) {
            if let Some(thread) = self.workers.get_mut(index)
                && thread.next_at().is_some_and(|at| at <= now.mono)
            {
                thread.turn(now, send);
            }
        }
        self.note_wakes(now.mono);
    }

    /// Lets a worker stall if that is due.
    fn stall(&mut self, now: Timestamp) {
        if self.stalls_at > now {
            return;
        }
        self.stalls_at = later(self.stalls, now, &mut self.rng);
        let lasts = self.rng.random_range(MOMENT..=LONGEST_STALL);
        if let Some(thread) = self.workers.choose_mut(&mut self.rng) {
            thread.idle_from = thread.idle_from.max(now + lasts);
        }
    }

    /// Returns when the next worker is due.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.workers.iter().filter_map(Thread::next_at).min()
    }

    /// Whether every worker has finished all its work.
    pub(super) fn has_ended(&self) -> bool {
        self.workers.iter().all(|thread| thread.has_ended)
    }

    /// Gives each worker that was woken the time at which it notices.
    fn note_wakes(&mut self, now: Timestamp) {
        for index in 0..self.workers.len() {
            let start = self.starts_at(now);
            if let Some(thread) = self.workers.get_mut(index)
                && thread.woken.load(Ordering::Relaxed)
            {
                thread.runs_at.get_or_insert(start);
            }
        }
    }

    fn starts_at(&mut self, now: Timestamp) -> Timestamp {
        now + self.rng.random_range(MOMENT..=SLOWEST_START)
    }
}

/// Shortest step of the virtual clock.
const MOMENT: Duration = Duration::from_micros(1);

impl Thread {
    /// Delivers a datagram to its socket, which it notices at `start`, or earlier if it runs before that.
    fn receive(&mut self, start: Timestamp, from: Envelope, datagram: BytesMut) {
        self.socket.push_back((from, datagram));
        self.runs_at.get_or_insert(start);
    }

    /// A turn takes at least [`MOMENT`]: a worker that is always due must not stop the virtual time.
    fn next_at(&self) -> Option<Timestamp> {
        if self.has_ended {
            return None;
        }
        let timeout = self.worker.poll_timeout().map(|at| at + self.lag);
        let due = [timeout, self.runs_at].into_iter().flatten().min()?;
        Some(due.max(self.idle_from))
    }

    fn turn(&mut self, now: Now, send: &mut dyn FnMut(Envelope, Bytes)) {
        self.runs_at = None;
        self.idle_from = now.mono + MOMENT;
        let now = Now { mono: now.mono - self.lag, ..now };
        if !self.socket.is_empty() {
            let batch = self.socket.len().min(BATCH);
            self.worker.handle_datagrams(now, &mut self.socket.drain(..batch));
        }
        if self.woken.swap(false, Ordering::Relaxed) {
            self.worker.handle_wake(now);
        }
        if self.worker.poll_timeout().is_some_and(|at| at <= now.mono) {
            self.worker.handle_timeout(now);
        }
        let mut datagram = BytesMut::new();
        while let Some(to) = self.worker.poll_transmit(now, &mut datagram) {
            send(to, datagram.split().freeze());
        }
        if !self.socket.is_empty() {
            self.runs_at = Some(self.idle_from);
        }
        self.has_ended = self.worker.is_finished();
    }
}
