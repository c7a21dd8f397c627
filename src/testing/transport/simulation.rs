//! The main loop: processes events in time order until the busy time is over, then lets traffic settle and
//! judges the run.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::attacker::Attacker;
use super::checker::{Checker, MAX_BURST, Rules};
use super::client::Door;
use super::hosts::Hosts;
use super::message::End;
use super::network::{Network, Stamp};
use super::party::Party;
use super::scenario::Scenario;
use super::server::Server;
use crate::base::{Envelope, Now, Route, Timestamp, UnixTime};
use crate::link::Impairments;
use crate::rudp::{BASE_DATAGRAM_BYTES, EndpointConfig, MemoryBudgets};
use crate::secure::TokenKey;
use crate::testing::checker::Life;
use crate::wire::packet::is_clear;

/// Result of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Promises that were broken.
    pub issues: Vec<String>,
    /// A hash over the time, addresses and length of every datagram that arrived; two runs of one seed have
    /// the same.
    pub trace: u64,
    /// Datagrams that arrived.
    pub datagrams: u64,
    /// Datagrams that an attacker sent.
    pub attacks: u64,
    /// Datagrams that one worker passed on to another.
    pub foreign: u64,
    /// Messages that `send` accepted.
    pub sent: u64,
    /// Messages that `send` refused.
    pub refused: u64,
    /// Messages that arrived.
    pub arrived: u64,
    /// Connection attempts.
    pub lives: u32,
    /// Attempts whose clients reported an open connection.
    pub opened: u32,
    /// Ends that closed their connection.
    pub closed: u64,
    /// Ends that timed out.
    pub timed_out: u64,
    /// Changes of a client's address.
    pub moves: u64,
    /// Datagrams that a path marked CE.
    pub congested: u64,
    /// Datagrams that a path dropped because of their marks.
    pub marks_dropped: u64,
}

/// A server, its clients, the network between them and the clock.
pub struct Simulation {
    pub(super) scenario: Scenario,
    pub(super) now: Timestamp,
    start: Timestamp,
    pub(super) server: Server,
    pub(super) hosts: Hosts,
    pub(super) parties: Vec<Party>,
    pub(super) network: Network,
    pub(super) attacker: Attacker,
    pub(super) door: Door,
    pub(super) checker: Checker,
    /// Time of the next nap, and of the next jump.
    pub(super) naps_at: Timestamp,
    pub(super) jumps_at: Timestamp,
    /// Time of the next change of the paths' MTUs.
    pub(super) mtus_at: Timestamp,
    pub(super) outcome: Outcome,
    /// The client that has each address.
    pub(super) addresses: BTreeMap<SocketAddr, usize>,
    trace: DefaultHasher,
    pub(super) rng: StdRng,
}

/// Wall-clock time at the start of the virtual clock.
const WALL: UnixTime = UnixTime::from_secs(1_800_000_000);
/// Longest time in which the ends may finish everything on good paths.
const CALM_SECONDS: u32 = 60;

impl Simulation {
    /// Returns a run that follows from `seed`, at its beginning.
    pub fn new(seed: u64, scenario: Scenario) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let (now, idle) = (scenario.start, scenario.idle_timeout());
        let door = Door {
            server: SocketAddr::from(([10, 255, 255, 1], 7_777)),
            name: "server".to_owned(),
            key: TokenKey::from_bytes(&rng.random()),
            protocol_id: rng.random(),
            connection: scenario.client,
            budgets: MemoryBudgets::default(),
        };
        let server =
            Server::new(scenario.workers, endpoint(&scenario, &door), scenario.refused, fork(&mut rng));
        let parties = (0..).zip(&scenario.paths);
        let parties = parties.map(|(number, path)| Party::new(number, now, path.pace, idle, fork(&mut rng)));
        let parties = parties.collect();
        let rules =
            Rules { idle_timeout: idle, must_live: scenario.must_live(), must_tell: scenario.must_tell() };
        let later = |mean: Option<Duration>| mean.map_or(Timestamp::MAX, |mean| now + mean);
        Self {
            now,
            start: now,
            server,
            hosts: Hosts::new(seed, idle, fork(&mut rng)),
            parties,
            network: Network::new(fork(&mut rng)),
            attacker: Attacker::new(now, scenario.attacks, door.server, fork(&mut rng)),
            door,
            checker: Checker::new(seed, now, rules),
            naps_at: later(scenario.naps),
            jumps_at: later(scenario.jumps),
            mtus_at: later(scenario.mtu_changes),
            outcome: Outcome::default(),
            addresses: BTreeMap::new(),
            trace: DefaultHasher::new(),
            scenario,
            rng,
        }
    }

    /// Runs to the end and judges the run.
    pub fn run(mut self) -> Outcome {
        self.run_for(self.scenario.busy);
        self.calm_down();
        self.say_farewell();
        self.all_leave();
        self.judge()
    }

    pub(super) fn now(&self) -> Now {
        Now { mono: self.now, wall: WALL + self.now.since(self.start) }
    }

    /// Processes everything that happens within `time`; time that a jump skips does not count.
    fn run_for(&mut self, time: Duration) {
        let mut end = self.now + time;
        while let Some(next) = self.next_at()
            && next <= end
            && self.checker.step(self.now.max(next))
        {
            self.now = self.now.max(next);
            end += self.jump();
            self.step();
        }
        self.now = self.now.max(end);
    }

    fn next_at(&self) -> Option<Timestamp> {
        let parties = self.parties.iter().map(Party::next_at);
        let own = [self.naps_at, self.jumps_at, self.mtus_at, self.attacker.acts_at, self.hosts.next_at()];
        parties.chain(own).chain(self.network.next_at()).chain(self.server.next_at()).min()
    }

    /// Processes everything that is due now.
    fn step(&mut self) {
        self.nap();
        self.change_mtus();
        self.attack();
        self.deliver();
        self.run_server();
        for index in 0..self.parties.len() {
            self.live(index);
            self.run_party(index);
        }
    }

    fn deliver(&mut self) {
        while let Some(parcel) = self.network.receive(self.now) {
            self.outcome.datagrams += 1;
            (self.now, parcel.from.route.remote, parcel.to, parcel.datagram.len()).hash(&mut self.trace);
            if is_clear(&parcel.datagram) {
                // A copy of an unsealed datagram cannot get ahead: the original has already arrived.
                let client = if parcel.to == self.door.server { parcel.from.route.remote } else { parcel.to };
                let from = if parcel.to == self.door.server { End::Client } else { End::Server };
                self.attacker.see(from, client, &parcel.datagram);
            }
            if parcel.to == self.door.server {
                self.server.deliver(self.now, parcel);
            } else if let Some(index) = self.addresses.get(&parcel.to)
                && let Some(party) = self.parties.get_mut(*index)
                && party.address == parcel.to
            {
                party.deliver(parcel);
            }
        }
    }

    fn run_server(&mut self) {
        let now = self.now();
        let mut given = Vec::new();
        let events = self.server.take_input(now, &mut |stamp| given.push(stamp));
        for stamp in given {
            hear(&self.scenario, now.mono, stamp, &mut self.checker);
        }
        let Self { server, hosts, checker, scenario, network, attacker, door, .. } = self;
        hosts.hear(now.mono, events, &scenario.paths, checker);
        hosts.act(now.mono, server, checker);
        // A second time after the checks, whose access may make connections send.
        for is_last in [false, true] {
            hosts.hear(now.mono, server.poll_events(), &scenario.paths, checker);
            let sent = server.poll_transmit(now.mono, MAX_BURST, &mut |to, datagram| {
                let Envelope { route: Route { remote: to, .. }, ecn } = to;
                let life = network.send(now.mono, End::Server, (to, door.server), (ecn, &datagram));
                let Some(life) = life else { return };
                checker.spoke(now.mono, life, End::Server);
                if hosts.is_confirmed(life) {
                    attacker.see(End::Server, to, &datagram);
                }
            });
            checker.burst(End::Server, sent);
            if !is_last {
                hosts.gauge(now.mono, server, &scenario.server, checker);
            }
        }
    }

    fn run_party(&mut self, index: usize) {
        let now = self.now;
        let Some(party) = self.parties.get_mut(index).filter(|party| party.asleep_until <= now) else {
            return;
        };
        let Self { hosts, checker, scenario, network, attacker, door, .. } = self;
        let ends = (party.address, door.server);
        let mut given = |stamp, checker: &mut Checker| hear(scenario, now, stamp, checker);
        let (life, is_confirmed) = (party.life, hosts.is_confirmed(party.life));
        party.turn(now, door, checker, &mut given, &mut |(ecn, datagram), checker| {
            network.send(now, End::Client, ends, (ecn, &datagram));
            checker.spoke(now, life, End::Client);
            if is_confirmed {
                attacker.see(End::Client, ends.0, &datagram);
            }
        });
    }

    /// Stops all activity, makes the paths good, and waits until connections of crashed clients have timed
    /// out.
    fn calm_down(&mut self) {
        [self.naps_at, self.jumps_at, self.mtus_at, self.attacker.acts_at] = [Timestamp::MAX; 4];
        self.parties.iter_mut().for_each(Party::fall_silent);
        self.hosts.fall_silent();
        self.server.wake();
        self.network.set(&Impairments { delay: Duration::from_millis(10), ..Impairments::default() });
        self.run_for(self.scenario.idle_timeout() + Duration::from_secs(4));
        for _ in 0..CALM_SECONDS {
            let Self { parties, hosts, server, .. } = self;
            if parties.iter_mut().all(Party::is_quiet) && hosts.are_quiet(self.now, server) {
                break;
            }
            self.run_for(Duration::from_secs(1));
        }
    }

    /// Lets each end send a last message in every mode, all of which must arrive.
    fn say_farewell(&mut self) {
        let now = self.now;
        self.checker.expect_all();
        for party in &mut self.parties {
            party.say_farewell(now, &mut self.checker);
        }
        self.hosts.say_farewell(now, &mut self.server, &mut self.checker);
        // The messages leave with the next turn.
        self.step();
        self.run_for(Duration::from_secs(2));
        self.checker.judge_the_living();
        let [connections, _, unfinished] = self.server.holds();
        let (living, theirs) = (self.hosts.len(), self.door.held());
        self.checker.expect(connections == living, || format!("{connections} connections, {living} live"));
        self.checker.expect(unfinished == 0, || format!("the server keeps {unfinished} bytes unfinished"));
        self.checker.expect(theirs == 0, || format!("the clients keep {theirs} bytes unfinished"));
    }

    fn all_leave(&mut self) {
        for party in &mut self.parties {
            if self.rng.random_bool(0.5) {
                party.close(self.now, &mut self.checker);
            } else {
                self.hosts.close(self.now, party.life, &mut self.server, &mut self.checker);
            }
        }
        self.step();
        self.run_for(self.scenario.idle_timeout() + Duration::from_secs(3));
    }

    fn judge(mut self) -> Outcome {
        self.checker.judge_the_dead();
        let held = self.server.holds();
        let theirs = self.door.held();
        self.checker.expect(held == [0; 3] && theirs == 0, || {
            format!("connections, half-open ones, unfinished bytes: {held:?} and {theirs} stay")
        });
        for party in &self.parties {
            self.checker.expect(party.is_gone(), || format!("{:?} does not come to its end", party.life));
        }
        let (counts, links) = (self.checker.counts(), self.network.counts());
        Outcome {
            issues: self.checker.issues().to_vec(),
            trace: self.trace.finish(),
            foreign: self.server.foreign(),
            opened: counts.opened,
            sent: counts.sent,
            refused: counts.refused,
            arrived: self.checker.arrived(),
            closed: counts.closed,
            timed_out: counts.timed_out,
            congested: links.congested,
            marks_dropped: links.marks_dropped,
            ..self.outcome
        }
    }

    /// Returns the number of a new life.
    pub(super) fn next_life(&mut self) -> Life {
        self.outcome.lives += 1;
        Life(self.outcome.lives)
    }
}

/// Records that an end was given a datagram. If an attacker's copy may have arrived first, the only certainty
/// is that neither arrived before it was sent. A large datagram from another IP counts as not received
/// (MTU-7).
fn hear(scenario: &Scenario, now: Timestamp, stamp: Stamp, checker: &mut Checker) {
    if stamp.from == End::Client && scenario.address_changes.is_some() && stamp.bytes > BASE_DATAGRAM_BYTES {
        return;
    }
    let at = if scenario.attacks.is_some() { stamp.sent_at } else { now };
    checker.heard(at, stamp.life, stamp.from.peer(), stamp.number);
}

fn endpoint(scenario: &Scenario, door: &Door) -> EndpointConfig {
    let mut config =
        EndpointConfig::new(door.protocol_id, vec![door.name.clone()], Arc::new(door.key.clone().into()));
    config.connection = scenario.server;
    config.half_open_timeout = Duration::from_secs(2);
    if scenario.cookies {
        config.cookie_from_hellos_per_second = 0;
    }
    config
}

fn fork(rng: &mut StdRng) -> StdRng {
    StdRng::from_rng(rng)
}
