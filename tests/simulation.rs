//! The whole server and its clients under a virtual clock, on bad networks, seed by seed.
//!
//! A failure names its seed; `RALLYPOINT_SEED=… cargo test --test simulation` replays exactly that
//! run. `RALLYPOINT_SEEDS=N` runs N fresh seeds instead of the usual few.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::env;
use std::thread;
use std::time::Duration;

use rallypoint::link::{Blackhole, Impairments};
use rallypoint::testing::{Outcome, Scenario, Simulation};

/// Seeds that run every time.
const FIXED_SEEDS: u64 = 96;
/// Seeds that are new every time.
const FRESH_SEEDS: u64 = 8;

fn run(seed: u64, scenario: Scenario) -> Outcome {
    let outcome = Simulation::new(seed, scenario).run();
    assert!(
        outcome.issues.is_empty(),
        "RALLYPOINT_SEED={seed} breaks promises:\n{}\n{outcome:#?}",
        outcome.issues.join("\n")
    );
    outcome
}

fn chosen_seed() -> Option<u64> {
    env::var("RALLYPOINT_SEED").ok().map(|seed| seed.parse().expect("RALLYPOINT_SEED is a number"))
}

/// Runs `scenario` with each of `seeds`, on all cores.
fn run_all(seeds: &[u64], scenario: &Scenario) -> Vec<Outcome> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let part = seeds.len().div_ceil(cores).max(1);
    thread::scope(|scope| {
        let parts = seeds.chunks(part).map(|seeds| {
            scope.spawn(|| seeds.iter().map(|seed| run(*seed, scenario.clone())).collect::<Vec<_>>())
        });
        let parts: Vec<_> = parts.collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap_or_else(|_| panic!("a seed failed, see above")))
            .collect()
    })
}

fn fresh_seeds(count: u64) -> Vec<u64> {
    // The one thing here that differs from run to run; whatever fails is named by its seed.
    let from = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    (0..count).map(|number| (from.wrapping_add(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect()
}

#[test]
fn promises_hold_on_a_bad_network_for_every_seed() {
    let seeds: Vec<u64> = chosen_seed().map_or_else(|| (0..FIXED_SEEDS).collect(), |seed| vec![seed]);
    let outcomes = run_all(&seeds, &Scenario::harsh());
    for (seed, outcome) in seeds.iter().zip(outcomes) {
        // A run in which little happens proves little.
        assert!(outcome.delivered > 500 && outcome.sessions > 5 && outcome.lives > 16, "{seed}: {outcome:?}");
    }
}

#[test]
fn promises_hold_for_seeds_that_never_ran_before() {
    let count = env::var("RALLYPOINT_SEEDS").ok().map_or(FRESH_SEEDS, |count| count.parse().unwrap());
    run_all(&fresh_seeds(count), &Scenario::harsh());
}

#[test]
fn the_same_seed_is_the_same_run() {
    let seed = chosen_seed().unwrap_or(7);
    assert_eq!(run(seed, Scenario::harsh()), run(seed, Scenario::harsh()));
    assert_ne!(run(seed, Scenario::harsh()).trace, run(seed ^ 1, Scenario::harsh()).trace);
}

#[test]
fn promises_hold_through_blackholes_and_long_bursts() {
    let scenario = Scenario {
        impairments: Impairments {
            loss: 0.1,
            burst: 6.0,
            delay: Duration::from_millis(30),
            blackhole: Some(Blackhole {
                every: Duration::from_secs(4),
                lasting: Duration::from_millis(1_500),
            }),
            ..Impairments::default()
        },
        ..Scenario::harsh()
    };
    let seeds: Vec<u64> = chosen_seed().map_or_else(|| (1_000..1_012).collect(), |seed| vec![seed]);
    run_all(&seeds, &scenario);
}

#[test]
fn promises_hold_when_every_client_stays_and_nothing_is_lost() {
    let scenario = Scenario { impairments: Impairments::default(), life: None, ..Scenario::harsh() };
    let seeds: Vec<u64> = chosen_seed().map_or_else(|| (2_000..2_004).collect(), |seed| vec![seed]);
    run_all(&seeds, &scenario);
}
