//! The server's end: endpoints as workers, without threads and sockets, and the mail between them. Everything
//! that a simulation needs of [`Endpoint`] is in this file.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::network::{Parcel, Stamp};
use crate::base::{ConnectionId, Envelope, Now, Timestamp, WorkerId};
use crate::rudp::{Connection, Endpoint, EndpointConfig, EndpointEvent, ForOwner, MemoryBudgets};
use crate::secure::TokenLedger;
use crate::wire::RejectCode;

/// The workers of one server.
pub(super) struct Server {
    workers: Vec<Worker>,
    budgets: MemoryBudgets,
    /// Share of clients that are refused.
    refused: f64,
    foreign: u64,
    rng: StdRng,
}

struct Worker {
    endpoint: Endpoint,
    socket: VecDeque<Parcel>,
    /// Datagrams for its connections that arrived at other workers' sockets.
    mail: VecDeque<Parcel>,
    /// When it notices what has arrived.
    runs_at: Option<Timestamp>,
    asleep_until: Timestamp,
}

/// Longest time that a worker takes to notice a datagram or mail.
const SLOWEST_START: Duration = Duration::from_micros(300);

impl Server {
    pub(super) fn new(workers: u8, config: EndpointConfig, refused: f64, mut rng: StdRng) -> Self {
        let budgets = config.budgets.clone();
        let (config, ledger) = (Arc::new(config), Arc::new(TokenLedger::new(10_000)));
        let workers = (0..workers).map(|id| {
            let rng = StdRng::from_rng(&mut rng);
            let endpoint = Endpoint::new(Arc::clone(&config), WorkerId(id), Arc::clone(&ledger), rng);
            Worker {
                endpoint,
                socket: VecDeque::new(),
                mail: VecDeque::new(),
                runs_at: None,
                asleep_until: Timestamp::ZERO,
            }
        });
        Self { workers: workers.collect(), budgets, refused, foreign: 0, rng }
    }

    /// Delivers a datagram to the socket that the system would choose by the sender's address.
    pub(super) fn deliver(&mut self, now: Timestamp, parcel: Parcel) {
        let start = now + self.rng.random_range(Duration::ZERO..SLOWEST_START);
        let count = self.workers.len().max(1);
        if let Some(worker) = self.workers.get_mut(usize::from(parcel.from.route.remote.port()) % count) {
            worker.socket.push_back(parcel);
            worker.runs_at.get_or_insert(start);
        }
    }

    /// Gives the endpoints what has arrived, runs their timers, and returns their events; `given` is called
    /// for each datagram that an endpoint has handled itself.
    pub(super) fn take_input(
        &mut self,
        now: Now,
        given: &mut dyn FnMut(Stamp),
    ) -> Vec<(WorkerId, EndpointEvent)> {
        for index in 0..self.workers.len() {
            for (to, parcel) in self.run(index, now, given) {
                self.foreign += 1;
                let start = now.mono + self.rng.random_range(Duration::ZERO..SLOWEST_START);
                if let Some(worker) = self.workers.get_mut(usize::from(to.0)) {
                    worker.mail.push_back(parcel);
                    worker.runs_at.get_or_insert(start);
                }
            }
        }
        self.poll_events()
    }

    /// Lets one worker take its input if it is due; returns datagrams for others.
    fn run(&mut self, index: usize, now: Now, given: &mut dyn FnMut(Stamp)) -> Vec<(WorkerId, Parcel)> {
        let Some(worker) = self.workers.get_mut(index) else { return Vec::new() };
        if worker.next_at().is_none_or(|at| at > now.mono) {
            return Vec::new();
        }
        worker.runs_at = None;
        let mut foreign = Vec::new();
        // Before the mail, so that what an attacker sends from elsewhere does not overtake the datagram it
        // copies.
        let parcels: Vec<_> = worker.socket.drain(..).chain(worker.mail.drain(..)).collect();
        for Parcel { from, to, datagram, stamp } in parcels {
            match worker.endpoint.handle_datagram(now, from, datagram) {
                None => stamp.into_iter().for_each(&mut *given),
                Some(ForOwner::Foreign(owner, datagram) | ForOwner::Moved(owner, datagram)) => {
                    foreign.push((owner, Parcel { from, to, datagram, stamp }));
                }
                Some(ForOwner::Incoming(incoming)) if self.rng.random_bool(self.refused) => {
                    worker.endpoint.refuse(now, &incoming, RejectCode::Full);
                }
                Some(ForOwner::Incoming(incoming)) => worker.endpoint.accept(now, incoming),
            }
        }
        if worker.endpoint.poll_timeout().is_some_and(|at| at <= now.mono) {
            worker.endpoint.handle_timeout(now.mono);
        }
        foreign
    }

    /// Returns the endpoints' events.
    pub(super) fn poll_events(&mut self) -> Vec<(WorkerId, EndpointEvent)> {
        let mut events = Vec::new();
        for (id, worker) in (0..).map(WorkerId).zip(&mut self.workers) {
            events.extend(std::iter::from_fn(|| worker.endpoint.poll_event()).map(|event| (id, event)));
        }
        events
    }

    /// Sends the datagrams that are due, `most` at most; returns their number.
    pub(super) fn poll_transmit(
        &mut self,
        now: Timestamp,
        most: usize,
        send: &mut dyn FnMut(Envelope, Bytes),
    ) -> usize {
        let mut sent = 0;
        for worker in self.workers.iter_mut().filter(|worker| worker.asleep_until <= now) {
            let mut out = BytesMut::new();
            while sent < most
                && let Some(to) = worker.endpoint.poll_transmit(now, &mut out)
            {
                send(to, out.split().freeze());
                sent += 1;
            }
        }
        sent
    }

    /// Returns when the next worker is due.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.workers.iter().filter_map(Worker::next_at).min()
    }

    /// Returns when the worker of a connection will run its timers.
    pub(super) fn timeout_of(&self, id: ConnectionId) -> Option<Timestamp> {
        self.workers.get(usize::from(id.worker().0))?.endpoint.poll_timeout()
    }

    /// Returns a connection, unless its worker sleeps. Its events and datagrams must then be polled.
    pub(super) fn connection(&mut self, now: Timestamp, id: ConnectionId) -> Option<&mut Connection> {
        let worker = self.workers.get_mut(usize::from(id.worker().0))?;
        if worker.asleep_until > now { None } else { worker.endpoint.connection(id) }
    }

    /// Puts one random worker to sleep until `until`.
    pub(super) fn nap(&mut self, until: Timestamp) {
        let index = self.rng.random_range(0..self.workers.len().max(1));
        if let Some(worker) = self.workers.get_mut(index) {
            worker.asleep_until = until;
        }
    }

    /// Wakes all workers.
    pub(super) fn wake(&mut self) {
        self.workers.iter_mut().for_each(|worker| worker.asleep_until = Timestamp::ZERO);
    }

    /// Returns the number of datagrams that went from one worker to another.
    pub(super) fn foreign(&self) -> u64 {
        self.foreign
    }

    /// Returns the numbers of confirmed and half-open connections, and the bytes of messages held.
    pub(super) fn holds(&self) -> [usize; 3] {
        let endpoints = || self.workers.iter().map(|worker| &worker.endpoint);
        let connections = endpoints().map(Endpoint::connection_count).sum();
        let held = self.budgets.receive.held() + self.budgets.send.held();
        [connections, endpoints().map(Endpoint::half_open_count).sum(), held]
    }
}

impl Worker {
    fn next_at(&self) -> Option<Timestamp> {
        let due = [self.endpoint.poll_timeout(), self.runs_at].into_iter().flatten().min()?;
        Some(due.max(self.asleep_until))
    }
}
