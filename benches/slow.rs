//! What does a member that stops reading cost the other members and the server?
//!
//! `cargo bench --bench slow [-- SESSIONS]`. Three servers under the virtual clock run alternately, second by
//! second, each with sessions in which seven members broadcast 64 bytes at 30 Hz to all, in order. They
//! differ in the eighth member, which sends nothing:
//!
//! - `reads`: it receives everything;
//! - `stops`: from the second part on it receives and acks nothing, without closing its connection;
//! - `none`: it does not exist.
//!
//! The idle timeout is out of reach, so that only the queue matters: at 4 MiB the server closes the
//! connection with `lagging` and notifies the other members. Latency is virtual and counts the seven; a turn
//! is the server's real time from a batch of datagrams to the last datagram that follows from it.

#![allow(clippy::print_stdout, clippy::cast_precision_loss, clippy::cast_possible_truncation)]
#![allow(clippy::cast_sign_loss, clippy::indexing_slicing, missing_docs)]

mod busy;

use std::time::{Duration, Instant};

use busy::Watch;
use rallypoint::testing::{Engine, Meter};

const SECOND: Duration = Duration::from_secs(1);
const PERIOD: Duration = Duration::from_micros(33_333);
/// Members that send.
const SPEAKERS: usize = 7;
/// Seconds before one member stops reading, and after its removal.
const CALM_S: u32 = 10;
/// By then a queue of 4 MiB is full, at 7 × 30 messages per second.
const MOST_S: u32 = 180;

/// Bytes that a connection may keep before the engine counts them.
const OWN_BYTES: usize = 160 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Eighth {
    Reads,
    Stops,
    None,
}

/// One of the servers.
struct Server {
    eighth: Eighth,
    sessions: usize,
    engine: Engine,
    turns: Turns,
    /// The server's time per broadcast, one figure per second.
    ns: Vec<f64>,
    broadcasts: u64,
    delivered: u64,
    most_queued: usize,
}

/// The length of each turn.
#[derive(Default)]
struct Turns {
    started: Option<Instant>,
    lengths: Vec<Duration>,
}

impl Meter for Turns {
    fn start(&mut self) {
        self.started = Some(Instant::now());
    }

    fn stop(&mut self) {
        self.lengths.extend(self.started.take().map(|started| started.elapsed()));
    }
}

fn main() {
    // Cargo adds `--bench`.
    let sessions = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(8);
    let mut servers =
        [Eighth::Reads, Eighth::Stops, Eighth::None].map(|eighth| Server::new(eighth, sessions));
    println!(
        "{sessions} sessions; a broadcast is one message to all, ns are the server's, the median second's"
    );
    println!(
        "eighth | broadcasts | deliveries of each | ns of each | turn p50, p99 in µs | latest in µs | KiB kept for one"
    );
    println!("all read, for {CALM_S} s");
    play(&mut servers, |second, _| second == CALM_S);
    servers.iter_mut().for_each(Server::tell);

    let stops = servers.iter_mut().filter(|server| server.eighth == Eighth::Stops);
    stops.for_each(Server::lose_eighths);
    let seconds = play(&mut servers, |second, servers| {
        let closed: u64 = servers.iter().map(|server| server.engine.counters().connections_lagging).sum();
        second == MOST_S || closed == sessions as u64
    });
    println!("one has stopped, for the {seconds} s until it is removed");
    servers.iter_mut().for_each(Server::tell);

    println!("it is removed, for {CALM_S} s");
    play(&mut servers, |second, _| second == CALM_S);
    servers.iter_mut().for_each(Server::tell);
    for Server { engine, .. } in servers.iter().filter(|server| server.eighth == Eighth::Stops) {
        let (closed, told) = (engine.counters().connections_lagging, engine.told_of_lagging());
        println!("{closed} connections were closed for lagging, and {told} members were told");
    }
}

/// Runs the servers second by second until `over`; returns the number of seconds.
fn play(servers: &mut [Server], over: impl Fn(u32, &[Server]) -> bool) -> u32 {
    let mut seconds = 0;
    while !over(seconds, servers) {
        servers.iter_mut().for_each(Server::play);
        seconds += 1;
    }
    seconds
}

impl Server {
    fn new(eighth: Eighth, sessions: usize) -> Self {
        let mut engine = Engine::new(1);
        let members = if eighth == Eighth::None { SPEAKERS } else { SPEAKERS + 1 };
        engine.add_sessions(sessions, u16::try_from(members).expect("few members"));
        engine.talk(PERIOD);
        let mut server = Self {
            eighth,
            sessions,
            engine,
            turns: Turns::default(),
            ns: Vec::new(),
            broadcasts: 0,
            delivered: 0,
            most_queued: 0,
        };
        if eighth != Eighth::None {
            server.eighths().for_each(|client| server.engine.mute(client));
        }
        // Until queues and buffers have reached their sizes.
        (0..3).for_each(|_| server.play());
        server.begin();
        server
    }

    fn play(&mut self) {
        let (turns_before, broadcasts) = (self.turns.lengths.len(), self.engine.counters().commands);
        let watch = Watch::start();
        self.engine.run(SECOND, &mut self.turns);
        let turns: Duration = self.turns.lengths.iter().skip(turns_before).sum();
        let ns = turns.as_nanos() as f64 * watch.share_on_core();
        self.ns.push(ns / (self.engine.counters().commands - broadcasts) as f64);
        self.most_queued = self.most_queued.max(self.engine.queued_bytes());
    }

    fn lose_eighths(&mut self) {
        self.eighths().for_each(|client| self.engine.lose(client));
    }

    fn eighths(&self) -> impl Iterator<Item = usize> + use<> {
        (0..self.sessions).map(|session| session * (SPEAKERS + 1) + SPEAKERS)
    }

    /// Counts from here on.
    fn begin(&mut self) {
        self.broadcasts = self.engine.counters().commands;
        self.delivered = self.engine.delivered();
        self.engine.take_latest();
        self.turns.lengths.clear();
        self.ns.clear();
        self.most_queued = 0;
    }

    /// Prints the counts.
    fn tell(&mut self) {
        let broadcasts = self.engine.counters().commands - self.broadcasts;
        let delivered = self.engine.delivered() - self.delivered;
        let lengths = &mut self.turns.lengths;
        lengths.sort_unstable();
        self.ns.sort_by(f64::total_cmp);
        let turn = |part: f64| lengths[((lengths.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e6;
        let own = if self.most_queued > 0 { OWN_BYTES } else { 0 };
        println!(
            "{:>6} | {broadcasts:10} | {:18.3} | {:10.0} | {:9.1} {:9.1} | {:12} | {:7}",
            format!("{:?}", self.eighth).to_lowercase(),
            delivered as f64 / broadcasts as f64,
            self.ns[self.ns.len() / 2],
            turn(0.5),
            turn(0.99),
            self.engine.take_latest().as_micros(),
            (self.most_queued / self.sessions + own) >> 10,
        );
        self.begin();
    }
}
