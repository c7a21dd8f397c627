//! The main loop: processes events in time order until the busy time is over, then lets traffic settle and
//! judges the run.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedMutRandom;
use rand::{Rng, SeedableRng};

use super::actor::Board;
use super::checker::{Checker, Life, Living};
use super::client::{LONGEST_PAUSE, Renewals, SimClient, Way};
use super::entrance::WALL;
use super::intruder::Intruder;
use super::network::Network;
use super::operator::Operator;
use super::scenario::Scenario;
use super::server::SimServer;
use crate::base::{Now, Timestamp, UserId};
use crate::link::Impairments;
use crate::rudp::ConnectionConfig;
use crate::secure::TokenKey;
use crate::server::config::{self, Identity};
use crate::server::counters::Totals;
use crate::server::limits::Limits;
use crate::server::mailbox::{MailRoom, Mailbox};
use crate::wire::ErrorCode;
use crate::wire::result::Info;

/// Result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Promises that were broken.
    pub issues: Vec<String>,
    /// A hash over the time, addresses and length of every datagram that arrived; two runs of one seed have
    /// the same.
    pub trace: u64,
    /// Datagrams that arrived.
    pub datagrams: u64,
    /// Results and events that clients received.
    pub told: u64,
    /// Messages that reached a member.
    pub delivered: u64,
    /// Arrivals of messages that may be dropped which were due, because in this run nothing drops them.
    pub due: u64,
    /// Number of sessions that were entered.
    pub sessions: usize,
    /// Connection attempts.
    pub lives: u32,
    /// Changes of a client's address while it was connected or connecting.
    pub moves: u32,
    /// Clients that were told that a newer one of the same user has replaced them.
    pub replaced: u64,
    /// Commands and messages refused with each code.
    pub refused: BTreeMap<ErrorCode, u64>,
    /// Changes of sessions' properties.
    pub changes: u64,
    /// Renewals of keys, as the clients saw them.
    pub renewals: u64,
    /// The server's counters.
    pub counters: Totals,
    /// Counts of the intruders' actions.
    pub intrusions: Intrusions,
}

impl Outcome {
    /// Returns the number of commands and messages that were refused with this code.
    pub fn refused(&self, code: ErrorCode) -> u64 {
        self.refused.get(&code).copied().unwrap_or_default()
    }
}

/// Counts of the intruders' actions in a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Intrusions {
    /// Payloads sent, valid or not.
    pub sent: u64,
    /// Times that one entered a session.
    pub entered: u64,
    /// Connections that the server closed for a protocol violation.
    pub caught: u64,
}

/// Time limit of a drain.
const DRAIN: Duration = Duration::from_secs(4);

/// A server, its clients, the network between them and the clock.
pub struct Simulation {
    scenario: Scenario,
    now: Timestamp,
    server: SimServer,
    clients: Vec<SimClient>,
    intruders: Vec<Intruder>,
    /// The client that has each address at the moment.
    addresses: BTreeMap<SocketAddr, usize>,
    /// The time at which each client's life ends.
    ends: Vec<Timestamp>,
    network: Network,
    way: Way,
    board: Board,
    operator: Operator,
    naps_at: Timestamp,
    checker: Checker,
    lives: u32,
    moves: u32,
    datagrams: u64,
    trace: DefaultHasher,
    rng: StdRng,
}

impl Simulation {
    /// Returns a run that follows from `seed`, at its beginning.
    pub fn new(seed: u64, scenario: Scenario) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let addr = SocketAddr::from(([10, 255, 255, 1], 7_777));
        let name = addr.to_string();
        let key = TokenKey::from_bytes(&rng.random());
        let protocol_id = rng.random();
        let identity =
            Identity { protocol_id, names: vec![name.clone()], keys: Arc::new(key.clone().into()) };
        let server = SimServer::of(&scenario, identity, StdRng::from_rng(&mut rng));
        let network = Network::new(addr, scenario.impairments.clone(), StdRng::from_rng(&mut rng));
        let users: Vec<UserId> = (0..scenario.clients)
            .map(|number| UserId::new(&format!("user-{number}")).expect("invariant: a short id is legal"))
            .collect();
        let owners = users.iter().chain(users.iter().take(usize::from(scenario.devices)));
        let clients: Vec<SimClient> = owners
            .map(|user| {
                let arrives = Timestamp::from_millis(rng.random_range(1..1_000));
                SimClient::new(user.clone(), arrives, scenario.pace, StdRng::from_rng(&mut rng))
            })
            .collect();
        let intruders: Vec<Intruder> =
            (0..scenario.intruders).map(|number| Intruder::new(number, StdRng::from_rng(&mut rng))).collect();
        let connection = with_renewals(config::connection(&scenario.limits), scenario.renew_keys_after);
        let known = users.into_iter().chain(intruders.iter().map(|it| it.user().clone())).collect();
        Self {
            operator: Operator::new(scenario.operator, StdRng::from_rng(&mut rng)),
            naps_at: later(scenario.naps, Timestamp::ZERO, &mut rng),
            ends: vec![Timestamp::MAX; clients.len()],
            way: Way {
                server: addr,
                name,
                key,
                protocol_id,
                connection,
                renewals: scenario.renew_keys_after.map(|_| Renewals::default()),
            },
            board: Board::new(known, scenario.takes_bulk()),
            now: Timestamp::ZERO,
            addresses: BTreeMap::new(),
            checker: Checker::new(scenario.causes()),
            lives: 0,
            moves: 0,
            datagrams: 0,
            trace: DefaultHasher::new(),
            scenario,
            server,
            clients,
            intruders,
            network,
            rng,
        }
    }

    /// Runs to the end and judges the run.
    pub fn run(mut self) -> Outcome {
        self.run_until(Timestamp::ZERO + self.scenario.busy);
        if self.scenario.drains {
            self.drain();
        } else {
            self.calm_down();
            self.judge_the_living();
            self.all_leave();
        }
        self.judge_the_empty_server()
    }

    fn now(&self) -> Now {
        Now { mono: self.now, wall: WALL + self.now.since(Timestamp::ZERO) }
    }

    /// Processes everything that happens until `end`.
    fn run_until(&mut self, end: Timestamp) {
        while let Some(next) = self.next_at()
            && next <= end
        {
            self.now = self.now.max(next);
            self.step();
        }
        self.now = end;
    }

    fn next_at(&self) -> Option<Timestamp> {
        let clients = self.clients.iter().zip(&self.ends);
        let clients = clients.filter_map(|(client, end)| client.next_at().map(|at| at.min(*end))).min();
        let own = [Some(self.operator.acts_at), Some(self.naps_at)];
        let intruders = self.intruders.iter().filter_map(Intruder::next_at).min();
        let others = [self.network.next_at(), self.server.next_at(), clients, intruders];
        own.into_iter().chain(others).flatten().min()
    }

    /// Processes everything that is due now.
    fn step(&mut self) {
        self.operator.act(self.now, self.server.shared(), &self.clients, &mut self.checker);
        self.nap();
        while let Some(arrived) = self.network.receive(self.now) {
            self.datagrams += 1;
            (self.now, arrived.from.route.remote, arrived.to, arrived.datagram.len()).hash(&mut self.trace);
            if arrived.to == self.way.server {
                self.server.deliver(self.now, arrived.from, arrived.datagram);
            } else if let Some(index) = self.addresses.get(&arrived.to)
                && let Some(client) = self.clients.get_mut(*index)
            {
                client.deliver(arrived.from, arrived.datagram);
            } else if let Some(intruder) = self.intruders.iter_mut().find(|it| it.addr == arrived.to) {
                intruder.deliver(self.now, arrived.from, arrived.datagram);
            }
        }
        let (now, from) = (self.now(), self.way.server);
        let network = &mut self.network;
        self.server.run(now, &mut |to, datagram| network.send(now.mono, from, to, datagram));
        self.check_bounds();
        for index in 0..self.clients.len() {
            self.live(index);
            self.change_address(index);
            self.run_client(index);
        }
        self.run_intruders();
    }

    fn run_intruders(&mut self) {
        let (now, network) = (self.now(), &mut self.network);
        for intruder in &mut self.intruders {
            let from = intruder.addr;
            let mut send = |to, datagram| network.send(now.mono, from, to, datagram);
            intruder.run(now, &self.way, &self.board, &mut self.checker, &mut send);
        }
    }

    fn run_client(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index) else { return };
        let (now, from, network) = (self.now, client.addr, &mut self.network);
        client.run(now, &mut self.board, &mut self.checker, &mut |to, datagram| {
            network.send(now, from, to, datagram);
        });
    }

    /// Begins and ends lives that are due.
    fn live(&mut self, index: usize) {
        let now = self.now();
        let (Some(client), Some(end)) = (self.clients.get_mut(index), self.ends.get_mut(index)) else {
            return;
        };
        if *end <= now.mono {
            *end = Timestamp::MAX;
            // Some clients return before the server notices that they were gone.
            client.acts_at = now.mono + self.rng.random_range(Duration::ZERO..LONGEST_PAUSE);
            if self.rng.random_bool(0.6) {
                client.crash(now.mono, &mut self.checker);
            } else {
                client.leave(now.mono);
            }
        } else if client.acts_at <= now.mono && !client.is_up() {
            if client.core.is_some() && !client.leaving {
                // Still connecting.
                client.acts_at = now.mono + Duration::from_millis(100);
                return;
            }
            client.crash(now.mono, &mut self.checker);
            self.lives += 1;
            client.connect(now, Life(self.lives), &self.way, &mut self.checker);
            client.acts_at = now.mono + Duration::from_millis(100);
            self.addresses.insert(client.addr, index);
            if let Some(life) = self.scenario.life {
                *end = now.mono + self.rng.random_range(Duration::ZERO..life * 2);
            }
            client.moves_at = later(self.scenario.address_changes, now.mono, &mut self.rng);
        }
    }

    /// Puts a client to sleep if a nap is due.
    fn nap(&mut self) {
        if self.naps_at > self.now {
            return;
        }
        self.naps_at = later(self.scenario.naps, self.now, &mut self.rng);
        let idle = Duration::from_millis(self.scenario.limits.idle_timeout_ms);
        // Usually shorter than the time a connection survives.
        let longest = if self.rng.random_bool(0.15) { idle * 2 } else { idle * 3 / 4 };
        let lasts = longest.mul_f64(self.rng.random());
        if let Some(client) = self.clients.choose_mut(&mut self.rng) {
            client.asleep_until = self.now + lasts;
        }
    }

    /// Checks that there are never more users and sessions than the server may hold.
    fn check_bounds(&mut self) {
        let Limits { max_connections, max_sessions, .. } = self.scenario.limits;
        let shared = self.server.shared();
        let is_connected = |client: &&SimClient| shared.directory.live(&client.user).is_some();
        let connected = self.clients.iter().filter(is_connected).map(|client| &client.user);
        let users = connected.collect::<BTreeSet<_>>().len() as u64;
        let sessions = shared.sessions.len() as u64;
        self.checker.expect(users <= max_connections && sessions <= max_sessions, || {
            format!("{users} users of {max_connections}, {sessions} sessions of {max_sessions}")
        });
    }

    /// Changes a client's address if that is due. Its old address then belongs to no client.
    fn change_address(&mut self, index: usize) {
        let Some(client) = self.clients.get_mut(index).filter(|client| client.moves_at <= self.now) else {
            return;
        };
        client.moves_at = later(self.scenario.address_changes, self.now, &mut self.rng);
        if client.core.is_some() {
            self.moves += 1;
            self.addresses.remove(&client.addr);
            client.change_address();
            self.checker.moved(self.now, client.life);
            self.addresses.insert(client.addr, index);
        }
    }

    /// Stops all activity, makes the paths good, and waits until connections of crashed clients have timed
    /// out.
    fn calm_down(&mut self) {
        for (client, end) in self.clients.iter_mut().zip(&mut self.ends) {
            [client.acts_at, client.moves_at, *end] = [Timestamp::MAX; 3];
        }
        [self.operator.acts_at, self.naps_at, self.server.stalls_at] = [Timestamp::MAX; 3];
        self.intruders.iter_mut().for_each(|intruder| intruder.stop(self.now));
        self.network.set(Impairments { delay: Duration::from_millis(15), ..Impairments::default() });
        let idle = Duration::from_millis(self.scenario.limits.idle_timeout_ms);
        // A sleeping client wakes within twice that time, and for the same time again believes that it is
        // connected.
        let longest = if self.scenario.naps.is_some() { idle * 3 } else { idle };
        self.run_until(self.now + longest + Duration::from_secs(10));
    }

    fn judge_the_living(&mut self) {
        let living: Vec<Living<'_>> = self
            .clients
            .iter()
            .filter_map(|client| {
                let core = client.core.as_ref().filter(|core| core.is_connected())?;
                Some((client.life, client.user.clone(), core.mirrors().map(Arc::as_ref).collect()))
            })
            .collect();
        self.checker.finish(self.now, &living);
        let (connections, clients) = (self.server.shared().population.all(), living.len() as u64);
        self.checker
            .expect(connections == clients, || format!("{connections} connections of {clients} clients"));
        let sessions = &self.server.shared().sessions;
        let of = |info: Info| (info, sessions.properties(info.session).unwrap_or_default());
        self.checker.compare(&living, &sessions.infos().into_iter().map(of).collect::<Vec<_>>());
    }

    /// Shuts the server down while all clients are active. Clients that arrive meanwhile are refused.
    fn drain(&mut self) {
        self.checker.drains(self.now);
        [self.operator.acts_at, self.naps_at] = [Timestamp::MAX; 2];
        self.server.shared().drain(self.now + DRAIN);
        // Also allows for the workers' clocks, which lag.
        self.run_until(self.now + DRAIN + Duration::from_millis(10));
        let has_ended = self.server.has_ended();
        self.checker.expect(has_ended, || "a worker goes on after the end of the drain".to_owned());
        let deaf = self.clients.iter().filter(|client| client.is_up()).count();
        self.checker.expect(deaf == 0, || format!("{deaf} clients were not told that the server shuts down"));
        self.checker.finish(self.now, &[]);
    }

    fn all_leave(&mut self) {
        for client in &mut self.clients {
            client.leave(self.now);
        }
        // Longer than any session of the actors is kept without members.
        self.run_until(self.now + Duration::from_secs(10));
    }

    fn judge_the_empty_server(mut self) -> Outcome {
        let shared = self.server.shared();
        let (connections, sessions) = (shared.population.all(), shared.sessions.len());
        let users = shared.directory.len();
        self.checker.expect(connections == 0, || format!("{connections} connections stay"));
        // A process that ends leaves its sessions as they are.
        if !self.scenario.drains {
            self.checker.expect(sessions == 0, || format!("{sessions} sessions stay"));
            self.checker.expect(users == 0, || format!("{users} users stay in the directory"));
            for worker in shared.mailboxes.workers() {
                let taken = shared.mailboxes.get(worker).map(Mailbox::taken).unwrap_or_default();
                self.checker
                    .expect(taken == MailRoom::default(), || format!("worker {worker} keeps {taken:?}"));
            }
        }
        Outcome {
            issues: self.checker.issues().to_vec(),
            trace: self.trace.finish(),
            datagrams: self.datagrams,
            told: self.checker.told(),
            delivered: self.checker.delivered(),
            due: self.checker.due(),
            sessions: self.checker.sessions(),
            lives: self.lives,
            moves: self.moves,
            replaced: self.checker.replaced(),
            refused: self.checker.refused().clone(),
            changes: self.checker.changes(),
            renewals: self.way.renewals.as_ref().map_or(0, Renewals::count),
            counters: self.server.shared().totals(),
            intrusions: self.intruders.iter().fold(Intrusions::default(), |sum, it| Intrusions {
                sent: sum.sent + it.sent,
                entered: sum.entered + it.entered,
                caught: sum.caught + it.caught,
            }),
        }
    }
}

/// Returns `config` with the renewals of keys that a scenario asks for.
pub(super) fn with_renewals(config: ConnectionConfig, after: Option<u64>) -> ConnectionConfig {
    ConnectionConfig { renew_keys_after: after.unwrap_or(config.renew_keys_after), ..config }
}

/// Returns a time after `now`, on average by `mean`; never if `mean` is `None`.
pub(super) fn later(mean: Option<Duration>, now: Timestamp, rng: &mut StdRng) -> Timestamp {
    mean.map_or(Timestamp::MAX, |mean| now + rng.random_range(Duration::ZERO..mean * 2))
}
