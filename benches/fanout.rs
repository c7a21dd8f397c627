//! What does a delivery cost the server apart from the kernel's share, and what does an idle connection cost?
//!
//! `cargo bench --bench fanout [-- [--json FILE] [ROUNDS [SESSIONSxMEMBERS+IDLE[@MILLIS] ...]]]`. One worker
//! without sockets under the virtual clock, with members that broadcast 64 bytes at 30 Hz to all, in order.
//! Time and allocator calls are counted while the worker works. For real sockets use `rallypoint bench`. For
//! a row without sessions, such as `0x0+100000`, only the memory is reported. With `@MILLIS` the worker takes
//! its turns that far apart, like one whose core is nearly full, and everything sent to a member meanwhile
//! leaves in one datagram.
//!
//! All rows are run alternately, `ROUNDS` times; the reported time is the median of a row's turns. The
//! virtual length of a turn is the time that about 20,000 deliveries take at that rate, but at most a minute
//! and at least one period, in which each member sends once. Thousands of sessions therefore keep their 30
//! Hz, although no core could.
//!
//! `--json` writes the figures, by default of the rows of `SWEEP`, from which `peers plot-engine` draws (see
//! `benches/peers`).

#![allow(clippy::print_stdout, clippy::cast_precision_loss, clippy::indexing_slicing)]
#![allow(missing_docs, unsafe_code)]

mod busy;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use busy::Watch;
use rallypoint::testing::{Engine, Meter};
use serde_json::{Value, json};

/// Counts the worker's allocations, and all bytes in use.
struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static IN_USE: AtomicI64 = AtomicI64::new(0);

// SAFETY: every call goes to the system's allocator unchanged; counting does not affect it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller keeps the contract of `GlobalAlloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size().cast_signed() as i64, Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size, layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(place, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(more: usize, less: usize) {
    ALLOCATIONS.fetch_add(u64::from(COUNTS.load(Relaxed)), Relaxed);
    IN_USE.fetch_add(more.cast_signed() as i64 - less.cast_signed() as i64, Relaxed);
}

/// Adds up the time of the worker's turns.
#[derive(Default)]
struct Stopwatch {
    started: Option<Instant>,
    total: Duration,
}

impl Meter for Stopwatch {
    fn start(&mut self) {
        COUNTS.store(true, Relaxed);
        self.started = Some(Instant::now());
    }

    fn stop(&mut self) {
        self.total += self.started.take().map_or(Duration::ZERO, |started| started.elapsed());
        COUNTS.store(false, Relaxed);
    }
}

const PERIOD: Duration = Duration::from_micros(33_333);
const HZ: usize = 30;
/// Deliveries in a turn.
const TURN: usize = 20_000;
/// The longest turn, for rows that deliver little.
const MOST_TURN: Duration = Duration::from_secs(60);
/// Minimum warm-up in periods, 2 s, until queues and buffers have reached their sizes.
const WARMUP: u32 = 60;
/// Longer warm-up in periods, 20 s, for rows that run it quickly: until nothing is kept for repairs any more
/// (REP-1).
const LONG_WARMUP: u32 = 600;
/// Deliveries per second above which the warm-up is the short one.
const SOON_DONE: usize = 150_000;

/// Rows without arguments.
const ROWS: [&str; 10] = [
    "1x8+0",
    "8x8+0",
    "64x8+0",
    "64x8+0@12",
    "1x2+0",
    "1x16+0",
    "1x64+0",
    "8x8+1000",
    "8x8+10000",
    "0x0+100000",
];
/// Rows of a picture, with increasing numbers of members, sessions and idle connections.
const SWEEP: [&str; 14] = [
    "1x2+0",
    "1x4+0",
    "1x8+0",
    "1x16+0",
    "1x32+0",
    "1x64+0",
    "10x8+0",
    "100x8+0",
    "1000x8+0",
    "2000x8+0",
    "8x8+0",
    "8x8+100",
    "8x8+1000",
    "8x8+10000",
];

fn main() {
    // Cargo adds `--bench`.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench").peekable();
    let json = arguments.next_if(|argument| argument == "--json");
    let json = json.map(|_| arguments.next().expect("a file to write to"));
    let rounds = arguments.next().map_or(5, |rounds| rounds.parse().expect("a count of rounds"));
    let mut rows: Vec<String> = arguments.collect();
    if rows.is_empty() {
        let rows_by_default = if json.is_some() { &SWEEP[..] } else { &ROWS };
        rows = rows_by_default.iter().map(|row| (*row).to_owned()).collect();
    }
    let mut rows: Vec<Row> = rows.iter().map(|row| Row::parse(row)).collect();
    for _ in 0..rounds {
        rows.iter_mut().for_each(Row::play);
    }
    println!(
        "sessions x members + idle | ns (least, most), allocations, datagrams a delivery | bytes an idle connection"
    );
    rows.iter_mut().for_each(Row::tell);
    if let Some(file) = json {
        let rows: Vec<Value> = rows.iter().map(Row::to_json).collect();
        let report = json!({ "rounds": rounds, "hz": HZ, "payload_bytes": 64, "rows": rows });
        std::fs::write(&file, format!("{report:#}\n")).expect("a file that can be written");
    }
}

/// A worker with its clients, and its counts.
struct Row {
    name: String,
    sessions: usize,
    members: usize,
    idle: usize,
    engine: Engine,
    /// Virtual time of a turn.
    turn: Duration,
    idle_bytes: i64,
    /// The worker's time per delivery, one figure per turn.
    ns: Vec<f64>,
    deliveries: u64,
    allocations: u64,
    datagrams: u64,
}

impl Row {
    fn parse(row: &str) -> Self {
        let (numbers, apart) = row.split_once('@').unwrap_or((row, ""));
        let numbers: Vec<_> = numbers.split(['x', '+']).map(|number| number.parse().ok()).collect();
        let [Some(sessions), Some(members), Some(idle)] = numbers[..] else { panic!("{row} is no row") };
        let apart = (!apart.is_empty()).then(|| apart.parse().expect("milliseconds between turns"));
        Self::new(row.to_owned(), [sessions, members, idle], apart.map(Duration::from_millis))
    }

    fn new(name: String, [sessions, members, idle]: [usize; 3], apart: Option<Duration>) -> Self {
        let mut engine = Engine::new(1);
        let before = IN_USE.load(Relaxed);
        engine.add_idle(idle);
        let idle_bytes = IN_USE.load(Relaxed) - before;
        let per_second = sessions * members * members * HZ;
        let turn = Duration::from_secs_f64(TURN as f64 / per_second.max(1) as f64).clamp(PERIOD, MOST_TURN);
        if sessions > 0 {
            engine.add_sessions(sessions, u16::try_from(members).expect("few members"));
            engine.talk(PERIOD);
            apart.into_iter().for_each(|apart| engine.set_turn_length(apart));
            let warmup = if per_second <= SOON_DONE { LONG_WARMUP } else { WARMUP };
            engine.run(turn.max(PERIOD * warmup), &mut Stopwatch::default());
        }
        let (ns, deliveries, allocations, datagrams) = (Vec::new(), 0, 0, 0);
        Self {
            name,
            sessions,
            members,
            idle,
            engine,
            turn,
            idle_bytes,
            ns,
            deliveries,
            allocations,
            datagrams,
        }
    }

    fn play(&mut self) {
        if self.sessions == 0 {
            return;
        }
        let Self { engine, .. } = self;
        let (delivered, datagrams) = (engine.delivered(), engine.datagrams());
        let allocations = ALLOCATIONS.load(Relaxed);
        let (mut worker, watch) = (Stopwatch::default(), Watch::start());
        engine.run(self.turn, &mut worker);
        let worker_ns = worker.total.as_nanos() as f64 * watch.share_on_core();
        let deliveries = engine.delivered() - delivered;
        self.ns.push(worker_ns / deliveries as f64);
        self.deliveries += deliveries;
        self.allocations += ALLOCATIONS.load(Relaxed) - allocations;
        self.datagrams += engine.datagrams() - datagrams;
    }

    fn tell(&mut self) {
        self.ns.sort_by(f64::total_cmp);
        let idle_bytes = self.bytes_per_idle();
        if self.sessions == 0 {
            return println!("{:>25} | {:>41} | {idle_bytes:6.0}", self.name, "");
        }
        println!(
            "{:>25} | {:6.0} ({:6.0} to {:6.0}) {:6.3} {:5.2} | {idle_bytes:6.0}",
            self.name,
            self.median_ns(),
            self.ns[0],
            self.ns[self.ns.len() - 1],
            self.allocations as f64 / self.deliveries as f64,
            self.datagrams as f64 / self.deliveries as f64,
        );
    }

    fn to_json(&self) -> Value {
        json!({
            "row": self.name,
            "sessions": self.sessions,
            "members": self.members,
            "idle": self.idle,
            "turn_s": self.turn.as_secs_f64(),
            "deliveries": self.deliveries,
            "ns_per_delivery": (self.sessions > 0).then(|| self.median_ns()),
            "ns_per_delivery_of_each_round": self.ns,
            "allocations_per_delivery": self.allocations as f64 / self.deliveries as f64,
            "datagrams_per_delivery": self.datagrams as f64 / self.deliveries as f64,
            "bytes_per_idle_connection": self.bytes_per_idle(),
        })
    }

    fn bytes_per_idle(&self) -> f64 {
        self.idle_bytes as f64 / self.idle.max(1) as f64
    }

    /// Returns the median of `ns`, which must be sorted.
    fn median_ns(&self) -> f64 {
        self.ns[self.ns.len() / 2]
    }
}
