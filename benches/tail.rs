//! How much later than an unreliable message on a clean link is an ordered one on a bad link?
//!
//! `cargo bench --bench tail [-- SECONDS [SEED [RUNS]]]`. A server and four members of a session under the
//! virtual clock, 20 ms each way, 64 bytes at 30 Hz: exact and repeatable, and no measure of CPU time. For
//! real sockets use `rallypoint bench`.

#![allow(clippy::print_stdout, missing_docs)]

use std::time::Duration;

use rallypoint::link::Impairments;
use rallypoint::testing::{Beside, Figures, Workload};
use rallypoint::wire::Delivery;

/// Number of runs that are pooled for a row.
const RUNS: u64 = 5;

fn main() {
    // Cargo adds `--bench`.
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let seconds: u64 = numbers.next().unwrap_or(60);
    let seed: u64 = numbers.next().unwrap_or(1);
    let counted = Duration::from_secs(seconds);
    let runs: u64 = numbers.next().unwrap_or(RUNS);
    let clean = pooled(&workload(0.0, 1.0, Delivery::Unreliable, counted), seed, runs);
    println!("{runs} runs of {seconds} s pooled; ms above unreliable delivery on a clean link");
    println!("loss   burst | p50     p99     p99.9   max     | bytes  datagrams a delivery | arrived");
    let rows = [(0.0, 1.0), (0.01, 1.0), (0.05, 1.0), (0.10, 1.0), (0.20, 1.0), (0.05, 3.0)];
    for (loss, burst) in rows {
        let figures = pooled(&workload(loss, burst, Delivery::ReliableOrdered, counted), seed, runs);
        let added = |quantile| {
            let above = figures.latency(quantile).saturating_sub(clean.latency(quantile));
            above.as_secs_f64() * 1_000.0
        };
        let arrived = figures.latencies_us.len() as u64;
        println!(
            "{:4.0} % {burst:5} | {:7.2} {:7.2} {:7.2} {:7.2} | {:6.1} {:5.2} | {arrived} of {}",
            loss * 100.0,
            added(0.5),
            added(0.99),
            added(0.999),
            added(1.0),
            figures.bytes_per_delivery(),
            figures.datagrams_per_delivery(),
            figures.expected,
        );
    }
}

fn workload(loss: f64, burst: f64, delivery: Delivery, counted: Duration) -> Workload {
    Workload {
        members: 4,
        period: Duration::from_micros(33_333),
        size_bytes: 64,
        delivery,
        impairments: Impairments { loss, burst, delay: Duration::from_millis(20), ..Impairments::default() },
        counted,
        beside: Beside::Nothing,
    }
}

fn pooled(workload: &Workload, seed: u64, runs: u64) -> Figures {
    let mut all = Figures::default();
    (0..runs).for_each(|run| all.add(workload.run(seed.wrapping_mul(1_000) + run)));
    all.latencies_us.sort_unstable();
    all
}
