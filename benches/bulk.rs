//! How much later is a session's message while a bulk transfer fills the same line, and how much of the line
//! does the transfer get?
//!
//! `cargo bench --bench bulk [-- SECONDS [SEED]]`. As in `tail`, but each member has a line of limited rate
//! with a queue of 100 ms and Ethernet's MTU. The latencies are those of the member that receives the
//! transfer.

#![allow(clippy::print_stdout, missing_docs, reason = "a bench prints, and has no callers")]

use std::time::Duration;

use rallypoint::link::Impairments;
use rallypoint::testing::{Beside, Workload};
use rallypoint::wire::Delivery;

/// Mbit/s, milliseconds each way, milliseconds of jitter each way, share lost each way.
const LINES: [(u64, u64, u64, f64); 9] = [
    (10, 20, 0, 0.0),
    (10, 20, 0, 0.01),
    (2, 20, 0, 0.0),
    (5, 5, 0, 0.0),
    (5, 75, 0, 0.0),
    (20, 20, 0, 0.0),
    (8, 20, 5, 0.0),
    (8, 20, 20, 0.0),
    (30, 20, 20, 0.0),
];

fn main() {
    // Cargo adds `--bench`.
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let counted = Duration::from_secs(numbers.next().unwrap_or(30));
    let seed = numbers.next().unwrap_or(1);
    println!("Mbit/s  ms jitter  loss | share of the line | ms above the idle line: p50     p99     max");
    for (megabits, delay, jitter, loss) in LINES {
        let line = Impairments {
            loss,
            delay: Duration::from_millis(delay),
            jitter: Duration::from_millis(jitter),
            rate: Some(megabits * 1_000_000),
            queue: Duration::from_millis(100),
            mtu: Some(1_472),
            ..Impairments::default()
        };
        let idle = workload(&line, counted, Beside::Nothing).run(seed);
        let busy = workload(&line, counted, Beside::Bulk).run(seed);
        #[allow(clippy::cast_precision_loss, reason = "a share for people")]
        let share = busy.bulk_bytes as f64 * 8.0 / counted.as_secs_f64() / (megabits * 1_000_000) as f64;
        let added = |quantile| {
            let above = busy.first_latency(quantile).saturating_sub(idle.first_latency(quantile));
            above.as_secs_f64() * 1_000.0
        };
        println!(
            "{megabits:6} {delay:3} {jitter:6} {:3.0} % | {:15.1} % | {:27.2} {:7.2} {:7.2}",
            loss * 100.0,
            share * 100.0,
            added(0.5),
            added(0.99),
            added(1.0),
        );
    }
}

fn workload(line: &Impairments, counted: Duration, beside: Beside) -> Workload {
    Workload {
        members: 4,
        period: Duration::from_micros(33_333),
        size_bytes: 64,
        delivery: Delivery::ReliableOrdered,
        impairments: line.clone(),
        counted,
        beside,
    }
}
