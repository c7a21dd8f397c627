//! What do the stripes of the session table gain over one lock, and how long is a lock held?
//!
//! `cargo bench --bench table [-- SECONDS [THREADS ...]]`.
//!
//! **Contention**: threads send commands to 1,024 sessions of 8 at random: of 100 commands 80 are ordered
//! broadcasts, 10 messages, 6 changes of a property, 2 joins and 2 leaves. Posted mail is dropped, because
//! mailboxes are not measured. All contenders take turns of 2 ms; a turn in which a thread was ready and had
//! to wait for a core does not count (on Linux). The ratios are what matters.
//!
//! `dashmap` is a `DashMap` from session id to session, with the table's hasher. A session exists only inside
//! a `SessionTable`, so each value is a table of one session: behind the map's lock there is a second,
//! uncontended lock, and another lookup. The row with one thread shows their cost.
//!
//! **Hold times**: single calls on an otherwise unused table, posting to real mailboxes. A call takes longer
//! than its lock is held, by the copy of the payload, the lookup of the stripe and the reading of the clock
//! (its row is `nothing`), so these are upper bounds. A call in which the thread lost its core does not
//! count; time taken by the hypervisor still does, and causes the largest values.

#![allow(clippy::print_stdout, clippy::cast_precision_loss, clippy::cast_possible_truncation)]
#![allow(clippy::cast_sign_loss, clippy::indexing_slicing, missing_docs)]

mod busy;
mod rooms;

use std::collections::VecDeque;
use std::hash::BuildHasherDefault;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use rallypoint::base::ids::IdHasher;
use rallypoint::base::{SessionId, Timestamp, WorkerId};
use rallypoint::server::mail::{Mail, Post, WorkerSet};
use rallypoint::server::mailbox::Mailboxes;
use rallypoint::session::{SessionTable, WorkerPort};
use rallypoint::wire::command::Join;
use rallypoint::wire::{LeaveReason, Reason};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use busy::Watch;
use rooms::{NOW, Nowhere, Party, WORKERS, at, broadcast, entrant, gather, increment, message, table, user};

const TURN: Duration = Duration::from_millis(2);
/// Maximum time that a thread may wait for a core in a turn that counts.
const MOST_WAITED: Duration = Duration::from_micros(200);
/// Time that passes for the table between turns, and between rounds of calls, so that no rate limit is near.
const BREAK: Duration = Duration::from_secs(60);
const SESSIONS: usize = 1_024;
const MEMBERS: usize = 8;
/// The numbers of stripes that are compared.
const STRIPES: [usize; 7] = [1, 2, 4, 16, 64, 128, 1_024];
/// Shards of the maps: the number that `dashmap` uses for two cores, and as many as a table has stripes.
const SHARDS: [usize; 2] = [8, 128];
/// Number of calls of each kind.
const CALLS: usize = 20_000;
/// Members of the sessions that are called; the largest is one less than a session holds.
const SIZES: [usize; 2] = [8, 1_023];

fn main() {
    // Cargo adds `--bench`.
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let time = Duration::from_secs(numbers.next().unwrap_or(20) as u64);
    let mut threads: Vec<usize> = numbers.collect();
    if threads.is_empty() {
        threads = vec![1, 2];
    }
    contention(time, &threads);
    hold_times();
}

/// A store of sessions.
trait Sessions: Send + Sync + 'static {
    /// Calls into the table that contains this session.
    fn with<T>(&self, session: SessionId, call: impl FnOnce(&SessionTable) -> T) -> T;
}

type Map = DashMap<SessionId, SessionTable, BuildHasherDefault<IdHasher>>;

impl Sessions for SessionTable {
    fn with<T>(&self, _: SessionId, call: impl FnOnce(&SessionTable) -> T) -> T {
        call(self)
    }
}

impl Sessions for Map {
    fn with<T>(&self, session: SessionId, call: impl FnOnce(&SessionTable) -> T) -> T {
        call(&self.get_mut(&session).expect("no session ends"))
    }
}

/// One of the compared stores.
struct Contender {
    name: String,
    /// Commands per second of the given number of threads at the given time, if nothing disturbed the turn.
    play: Box<dyn Fn(usize, Timestamp) -> Option<f64>>,
}

impl Contender {
    fn new(name: String, sessions: impl Sessions, parties: Vec<Party>) -> Self {
        Self { name, play: Box::new(move |threads, now| race(&sessions, &parties, threads, now)) }
    }

    fn striped(stripes: usize) -> Self {
        let table = table(stripes, 1);
        let parties = (0..SESSIONS).map(|_| gather(&table, MEMBERS)).collect();
        Self::new(format!("table of {stripes} stripes"), table, parties)
    }

    fn sharded(shards: usize) -> Self {
        let map = Map::with_hasher_and_shard_amount(BuildHasherDefault::default(), shards);
        let mut parties = Vec::new();
        for seed in 0..SESSIONS as u64 {
            let table = table(1, seed);
            let party = gather(&table, MEMBERS);
            map.insert(party.session, table);
            parties.push(party);
        }
        Self::new(format!("dashmap of {shards} shards"), map, parties)
    }
}

fn contention(time: Duration, threads: &[usize]) {
    let contenders: Vec<_> =
        STRIPES.map(Contender::striped).into_iter().chain(SHARDS.map(Contender::sharded)).collect();
    println!("to 1: as a multiple of the first row's; alone: of what one thread does there");
    println!("threads |                       | M commands/s: median (quartiles) | to 1 | alone | turns");
    let (mut alone, mut now) = (vec![f64::NAN; contenders.len()], NOW);
    for threads in threads {
        let mut rates = vec![Vec::new(); contenders.len()];
        let end = Instant::now() + time;
        while Instant::now() < end {
            now += BREAK;
            for (rates, contender) in rates.iter_mut().zip(&contenders) {
                rates.extend((contender.play)(*threads, now));
            }
        }
        rates.iter_mut().for_each(|rates| rates.sort_by(f64::total_cmp));
        let one_lock = quantile(&rates[0], 0.5);
        for ((rates, contender), alone) in rates.iter().zip(&contenders).zip(&mut alone) {
            let [low, median, high] = [0.25, 0.5, 0.75].map(|part| quantile(rates, part) / 1e6);
            if *threads == 1 {
                *alone = median;
            }
            println!(
                "{threads:7} | {:21} | {median:14.2} ({low:.2} to {high:.2})      | {:4.2} | {:5.2} | {}",
                contender.name,
                median * 1e6 / one_lock,
                median / *alone,
                rates.len(),
            );
        }
    }
}

/// Returns the commands per second of `threads` threads, or `None` if a thread had to wait for a core.
fn race(sessions: &impl Sessions, parties: &[Party], threads: usize, now: Timestamp) -> Option<f64> {
    let (begin, over) = (&Barrier::new(threads + 1), &AtomicBool::new(false));
    thread::scope(|scope| {
        let players: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    // Starts before the barrier, because a thread that begins late was also disturbed.
                    let watch = Watch::start();
                    begin.wait();
                    (play(sessions, parties, (thread, now), over), watch.waited())
                })
            })
            .collect();
        begin.wait();
        let started = Instant::now();
        thread::sleep(TURN);
        over.store(true, Relaxed);
        let time = started.elapsed();
        let played: Vec<_> =
            players.into_iter().map(|player| player.join().expect("no command fails")).collect();
        let commands: u64 = played.iter().map(|(commands, _)| commands).sum();
        let undisturbed = played.iter().all(|(_, waited)| *waited <= MOST_WAITED);
        undisturbed.then_some(commands as f64 / time.as_secs_f64())
    })
}

/// Issues random commands until `over`; returns their number.
fn play(
    sessions: &impl Sessions,
    parties: &[Party],
    (thread, now): (usize, Timestamp),
    over: &AtomicBool,
) -> u64 {
    let mut rng = StdRng::seed_from_u64(thread as u64);
    // Each thread is a separate user, which is in a session only briefly.
    let (guest, at) = (user(MEMBERS + thread), at(thread));
    let mut commands = 0;
    while !over.load(Relaxed) {
        let party = &parties[rng.random_range(0..parties.len())];
        let by = party.member(rng.random_range(0..MEMBERS));
        let kind = rng.random_range(0..98);
        sessions.with(party.session, |table| match kind {
            0..80 => table.broadcast(now, by, broadcast(), &mut Nowhere).expect("no limit is near"),
            80..90 => table.message(now, by, message(by.member), &mut Nowhere).expect("no limit is near"),
            90..96 => drop(table.set_properties(now, by, &increment(), &mut Nowhere).expect("it exists")),
            _ => {
                let join = Join::Session(party.session);
                let joined = table.join(now, entrant(&guest, at), join, &mut Nowhere).expect("a free seat");
                table.leave(now, joined.member_ref(), LeaveReason::Left, &mut Nowhere).expect("it is in");
            }
        });
        commands += if kind < 96 { 1 } else { 2 };
    }
    commands
}

/// A table with one session, and the workers' mailboxes.
struct Bench {
    table: SessionTable,
    party: Party,
    mailboxes: Mailboxes,
    mail: VecDeque<Mail>,
}

impl Bench {
    fn new(members: usize) -> Self {
        let table = table(128, 1);
        let party = gather(&table, members);
        Self { table, party, mailboxes: Mailboxes::new(WORKERS, 1 << 16), mail: VecDeque::new() }
    }

    /// Returns the length of one call, unless it was disturbed.
    fn time<T>(&self, call: impl FnOnce(&SessionTable, &mut dyn WorkerPort) -> T) -> (Option<Duration>, T) {
        let mut wake = WorkerSet::default();
        let mut post = Post::new(&self.mailboxes, &mut wake);
        let (watch, started) = (Watch::start(), Instant::now());
        let done = call(&self.table, &mut post);
        let length = started.elapsed();
        (watch.waited().is_zero().then_some(length), done)
    }

    /// Empties the mailboxes, as workers do after every batch.
    fn take_mail(&mut self) {
        for worker in (0..WORKERS).map(WorkerId) {
            let mailbox = self.mailboxes.get(worker).expect("it was made");
            mailbox.take_all(&mut self.mail);
            self.mail.drain(..).for_each(|mail| mailbox.give_back(mail.room()));
        }
    }
}

fn hold_times() {
    println!();
    println!("how long a call takes, in ns, of {CALLS} each");
    println!("members | command                   |   p50 |   p99 | p99.9 |    max");
    for members in SIZES {
        let mut bench = Bench::new(members);
        let (session, by) = (bench.party.session, bench.party.member(0));
        let mut lengths: [(&str, Vec<Duration>); 8] = [
            "nothing",
            "broadcast",
            "message",
            "set properties",
            "create",
            "join",
            "leave",
            "leave, a snapshot is out",
        ]
        .map(|name| (name, Vec::with_capacity(CALLS)));
        let mut now = NOW;
        for _ in 0..CALLS {
            now += BREAK;
            let guest = user(members);
            let join = |table: &SessionTable, port: &mut dyn WorkerPort| {
                table
                    .join(now, entrant(&guest, at(0)), Join::Session(session), port)
                    .expect("a free seat")
                    .member_ref()
            };
            let leave = |member| {
                move |table: &SessionTable, port: &mut dyn WorkerPort| {
                    table.leave(now, member, LeaveReason::Left, port).expect("it is in")
                }
            };
            let nothing = bench.time(|_, _| ()).0;
            let (ops, text, whisper) = (increment(), broadcast(), message(by.member));
            let broadcast = bench.time(|table, port| table.broadcast(now, by, text, port)).0;
            let message = bench.time(|table, port| table.message(now, by, whisper, port)).0;
            let set = bench.time(|table, port| table.set_properties(now, by, &ops, port)).0;
            let (user, new) = (user(0), rooms::create());
            let (create, made) =
                bench.time(|table, port| table.create(now, entrant(&user, at(0)), new, port));
            let made = made.expect("room for a session").member_ref();
            bench.table.delete(now, made, Reason::none(), &mut Nowhere).expect("its owner");
            bench.take_mail();
            let (joining, member) = bench.time(join);
            bench.take_mail();
            let leaving = bench.time(leave(member)).0;
            let (_, member) = bench.time(join);
            let copying = bench.time(leave(member)).0;
            bench.take_mail();
            let all = [nothing, broadcast, message, set, create, joining, leaving, copying];
            lengths.iter_mut().zip(all).for_each(|((_, lengths), length)| lengths.extend(length));
        }
        for (name, lengths) in &mut lengths {
            let mut lengths: Vec<f64> = lengths.iter().map(|length| length.as_nanos() as f64).collect();
            lengths.sort_by(f64::total_cmp);
            let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|part| quantile(&lengths, part));
            println!("{members:7} | {name:25} | {p50:5} | {p99:5} | {p999:5} | {max:6}");
        }
    }
}

/// Returns a quantile of sorted figures.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * part).round() as usize).copied().unwrap_or_default()
}
