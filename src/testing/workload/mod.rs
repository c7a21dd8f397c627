//! [`Workload`]: one session's traffic on impaired links under the virtual clock, and its latencies.
//!
//! It measures what `rallypoint bench` measures on real sockets, without a machine's noise and in a fraction
//! of the time: the same seed gives the same figures to the microsecond. Only the network, the transport and
//! the up to 0.4 ms in which a worker notices a datagram contribute to a latency here.
//!
//! | file | contents |
//! |---|---|
//! | `member` | one client: when it sends what, and the latency of what it receives |
//! | `bulk` | large messages to one of the session's members, beside its traffic |
//! | `flood` | one more member, who sends all that the server accepts |
//! | `figures` | the measurements |

mod bulk;
mod figures;
mod flood;
mod member;

use std::net::SocketAddr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

pub use self::figures::Figures;
pub use self::flood::Flood;
use self::member::Member;
use super::entrance::{Entrance, WALL};
use super::network::Network;
use super::server::SimServer;
use crate::base::{Now, SessionId, Timestamp};
use crate::link::Impairments;
use crate::server::limits::Limits;
use crate::wire::Delivery;

/// The traffic and its links.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Number of members of the session; each sends to all.
    pub members: u16,
    /// Time between two messages of a member; members begin at random phases.
    pub period: Duration,
    /// Size of a message in bytes, at least 9.
    pub size_bytes: usize,
    /// Delivery mode of the messages.
    pub delivery: Delivery,
    /// Every member's path, each way.
    pub impairments: Impairments,
    /// Length of the counted time, after two seconds that are not counted.
    pub counted: Duration,
    /// Simultaneous traffic of a client on a perfect path.
    pub beside: Beside,
}

/// Other traffic beside a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// No other traffic.
    Nothing,
    /// In another session, the first member is sent as much as its link carries.
    Bulk,
    /// One more member of the session floods it.
    Flood(Flood),
}

/// Time before anything is counted.
const WARMUP: Duration = Duration::from_secs(2);
/// Time for messages in flight at the end.
const COOL_DOWN: Duration = Duration::from_secs(3);

impl Workload {
    /// Runs the workload; all randomness follows from `seed`.
    pub fn run(&self, seed: u64) -> Figures {
        let mut run = Run::new(self.clone(), seed);
        run.gather();
        run.talk();
        run.figures()
    }
}

/// A workload in progress.
struct Run {
    workload: Workload,
    now: Timestamp,
    server: SimServer,
    network: Network,
    addr: SocketAddr,
    members: Vec<Member>,
    /// The interval in which messages sent are counted.
    counted: std::ops::Range<Timestamp>,
}

impl Run {
    fn new(workload: Workload, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut limits = Limits::default();
        if workload.beside == Beside::Bulk {
            limits.command_bytes_per_second = 1 << 30;
            limits.session_bytes_per_second = 1 << 30;
        }
        let entrance = Entrance::new(limits.clone(), &mut rng);
        let addr = entrance.server;
        let server = SimServer::new(1, limits, entrance.identity(), StdRng::from_rng(&mut rng));
        let network = Network::new(addr, Impairments::default(), StdRng::from_rng(&mut rng));
        let beginning = Now { mono: Timestamp::ZERO, wall: WALL };
        let count = workload.members + u16::from(workload.beside != Beside::Nothing);
        let members = (0..count).map(|number| {
            let [high, low] = number.to_be_bytes();
            let from = SocketAddr::from(([10, 0, high, low], 4_000));
            let core = entrance.connect(beginning, usize::from(number), &mut rng);
            let phase = rng.random_range(Duration::ZERO..workload.period);
            Member::new(number, from, core, phase)
        });
        let members = members.collect();
        let counted = Timestamp::MAX..Timestamp::MAX;
        Self { workload, now: Timestamp::ZERO, server, network, addr, members, counted }
    }

    /// Lets all clients connect and enter the session; with bulk traffic, two of them also enter another one.
    /// Paths have their delay and rate from the beginning but lose nothing yet, because the duration of
    /// handshakes is not measured.
    fn gather(&mut self) {
        let Impairments { delay, rate, queue, .. } = self.workload.impairments;
        self.set_paths(&Impairments { delay, rate, queue, ..Impairments::default() });
        let quick = self.now + Duration::from_secs(60);
        self.run_until(quick, |run| run.members.iter().all(|member| member.core.is_connected()));
        let members = usize::from(self.workload.members);
        let flooders = u16::from(matches!(self.workload.beside, Beside::Flood(_)));
        let all = self.workload.members + flooders;
        self.meet((0..usize::from(all)).collect(), all);
        if self.workload.beside == Beside::Bulk {
            self.meet(vec![members, 0], 2);
        }
    }

    /// Has the first of `who` create an open session and the others join it.
    fn meet(&mut self, who: Vec<usize>, seats: u16) {
        let quick = self.now + Duration::from_secs(60);
        let (now, mut sessions) = (self.now, 0);
        if let Some(member) = who.first().and_then(|first| self.members.get_mut(*first)) {
            Entrance::create(&mut member.core, now, seats);
            sessions = member.entered.len() + 1;
        }
        let creator = who.first().copied().unwrap_or_default();
        self.run_until(quick, |run| run.entered(creator) >= sessions);
        let session = self.session_of(creator);
        for other in who.iter().skip(1) {
            let Some(member) = self.members.get_mut(*other) else { continue };
            let wanted = member.entered.len() + 1;
            Entrance::join(&mut member.core, self.now, session);
            self.run_until(quick, |run| run.entered(*other) >= wanted);
        }
    }

    fn entered(&self, member: usize) -> usize {
        self.members.get(member).map_or(0, |member| member.entered.len())
    }

    fn session_of(&self, member: usize) -> SessionId {
        let entered = self.members.get(member).and_then(|member| member.entered.last());
        entered.map(|(session, _)| *session).expect("invariant: `run_until` has waited for it")
    }

    fn set_paths(&mut self, impairments: &Impairments) {
        for member in self.members.iter().take(usize::from(self.workload.members)) {
            self.network.set_path(member.from, impairments);
        }
    }

    /// Has all members send until the end of the counted time, and then receive what is in flight.
    fn talk(&mut self) {
        self.set_paths(&self.workload.impairments.clone());
        let begin = self.now;
        let counted_from = begin + WARMUP;
        self.counted = counted_from..counted_from + self.workload.counted;
        for member in &mut self.members {
            member.sends_at = begin + member.phase;
        }
        self.run_until(counted_from, |_| false);
        self.members.iter_mut().for_each(Member::start_counting);
        self.run_until(self.counted.end, |_| false);
        self.members.iter_mut().for_each(Member::stop_counting);
        self.run_until(self.counted.end + COOL_DOWN, |_| false);
    }

    /// Processes everything that happens until `done` or, at the latest, until `end`.
    fn run_until(&mut self, end: Timestamp, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let members = self.members.iter().filter_map(|member| member.next_at(&self.counted)).min();
            let next = [self.network.next_at(), self.server.next_at(), members].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            self.step();
        }
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some(arrived) = self.network.receive(now) {
            if arrived.to == self.addr {
                self.server.deliver(now, arrived.from, arrived.datagram);
            } else if let Some(member) = self.members.iter_mut().find(|member| member.from == arrived.to) {
                member.core.handle_datagram(now, arrived.from, arrived.datagram);
            }
        }
        let (addr, network) = (self.addr, &mut self.network);
        let both = Now { mono: now, wall: WALL + now.since(Timestamp::ZERO) };
        self.server.run(both, &mut |to, datagram| network.send(now, addr, to, datagram));
        for member in &mut self.members {
            let from = member.from;
            member.run(now, &self.workload, &self.counted, &mut |to, datagram| {
                network.send(now, from, to, datagram);
            });
        }
    }

    fn figures(self) -> Figures {
        let mut figures = Figures::default();
        let members = self.members.into_iter().take(usize::from(self.workload.members));
        for (number, mut member) in members.enumerate() {
            if number == 0 {
                member.tally.first_latencies_us.clone_from(&member.tally.latencies_us);
            }
            figures.add(member.tally);
        }
        figures.sort();
        figures
    }
}
