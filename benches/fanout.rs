//! What does a delivery cost the server beside the kernel's share, and what an idle connection?
//!
//! `cargo bench --bench fanout [-- SECONDS [SESSIONSxMEMBERS+IDLE ...]]`. One worker without sockets under
//! the virtual clock, members that broadcast 64 bytes at 30 Hz to all, in order. Counted while the worker
//! works: time, and calls of the allocator. For real sockets there is `rallypoint bench`.

#![allow(clippy::print_stdout, clippy::cast_precision_loss, missing_docs, unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rallypoint::testing::{Engine, Meter};

/// Counts what the worker allocates, and all bytes that are in use.
struct Counting;

static COUNTS: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static IN_USE: AtomicI64 = AtomicI64::new(0);

// SAFETY: every call goes to the system's allocator, unchanged; what is counted changes nothing of it.
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
/// Time until queues and buffers have their size, and nothing is kept for repairs any more (REP-1).
const WARMUP: Duration = Duration::from_secs(20);

/// Rows without arguments.
const ROWS: [&str; 8] = ["1x8+0", "8x8+0", "64x8+0", "1x2+0", "1x16+0", "1x64+0", "8x8+1000", "8x8+10000"];

fn main() {
    // Cargo adds `--bench`.
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let seconds = arguments.next().map_or(10, |seconds| seconds.parse().expect("a count of seconds"));
    let mut rows: Vec<String> = arguments.collect();
    if rows.is_empty() {
        rows = ROWS.map(str::to_owned).to_vec();
    }
    println!("sessions x members + idle | ns, allocations, datagrams a delivery | bytes an idle connection");
    for row in rows {
        let numbers: Vec<_> = row.split(['x', '+']).map(|number| number.parse().ok()).collect();
        let [Some(sessions), Some(members), Some(idle)] = numbers[..] else { panic!("{row} is no row") };
        broadcast(&row, sessions, members, idle, Duration::from_secs(seconds));
    }
}

fn broadcast(row: &str, sessions: usize, members: usize, idle: usize, time: Duration) {
    let mut engine = Engine::new(1);
    let before = IN_USE.load(Relaxed);
    engine.add_idle(idle);
    let idle_bytes = IN_USE.load(Relaxed) - before;
    engine.add_sessions(sessions, u16::try_from(members).expect("few members"));
    engine.talk(PERIOD);
    engine.run(WARMUP, &mut Stopwatch::default());
    let mut watch = Stopwatch::default();
    let (delivered, datagrams) = (engine.delivered(), engine.datagrams());
    let allocations = ALLOCATIONS.load(Relaxed);
    engine.run(time, &mut watch);
    let deliveries = (engine.delivered() - delivered).max(1);
    let allocations = ALLOCATIONS.load(Relaxed) - allocations;
    println!(
        "{row:>25} | {:6.0} {:6.3} {:5.2} | {:6.0}",
        watch.total.as_nanos() as f64 / deliveries as f64,
        allocations as f64 / deliveries as f64,
        (engine.datagrams() - datagrams) as f64 / deliveries as f64,
        idle_bytes as f64 / idle.max(1) as f64,
    );
}
