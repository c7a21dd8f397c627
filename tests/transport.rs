//! The transport alone under a virtual clock: endpoints and real clients, on networks whose quality each seed
//! draws.
//!
//! A failure reports its seed; `RALLYPOINT_SEED=… cargo test --test transport` replays exactly that run.
//! `RALLYPOINT_SEEDS=N` runs N fresh seeds instead of the usual number.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

mod seeds;

use std::time::Duration;

use rallypoint::link::Marks;
use rallypoint::testing::transport::{Outcome, Scenario, Simulation};

/// Number of seeds that are the same in every run of the test.
const FIXED_SEEDS: u64 = 1_000;
/// Number of seeds that are new in every run of the test.
const FRESH_SEEDS: u64 = 200;

fn run(seed: u64, scenario: Scenario) -> Outcome {
    let outcome = Simulation::new(seed, scenario.clone()).run();
    assert!(
        outcome.issues.is_empty(),
        "RALLYPOINT_SEED={seed} breaks promises:\n{}\n{outcome:#?}\n{scenario:?}",
        outcome.issues.join("\n")
    );
    outcome
}

fn run_drawn(seeds: &[u64]) -> Vec<Outcome> {
    seeds::run_all("transport", seeds, |seed| run(seed, Scenario::drawn(seed)))
}

fn sum(outcomes: &[Outcome], of: impl Fn(&Outcome) -> u64) -> u64 {
    outcomes.iter().map(of).sum()
}

#[test]
fn promises_hold_for_every_seed() {
    let outcomes = run_drawn(&seeds::chosen_or(0..FIXED_SEEDS));
    if outcomes.len() < 100 {
        return;
    }
    // Runs in which little happens prove little.
    let runs = outcomes.len() as u64;
    let least = |what: &str, happened: u64, each: f64| {
        assert!(happened as f64 > each * runs as f64, "{what}: {happened} in {runs} runs");
    };
    least("messages sent", sum(&outcomes, |it| it.sent), 500.0);
    least("messages arrived", sum(&outcomes, |it| it.arrived), 300.0);
    least("messages refused", sum(&outcomes, |it| it.refused), 10.0);
    least("lives", sum(&outcomes, |it| u64::from(it.lives)), 2.0);
    least("closes", sum(&outcomes, |it| it.closed), 2.0);
    least("timeouts", sum(&outcomes, |it| it.timed_out), 0.1);
    least("attacks", sum(&outcomes, |it| it.attacks), 20.0);
    least("datagrams at the wrong worker", sum(&outcomes, |it| it.foreign), 2.0);
    least("datagrams marked", sum(&outcomes, |it| it.congested), 100.0);
    least("datagrams dropped for their marks", sum(&outcomes, |it| it.marks_dropped), 2.0);
}

#[test]
fn promises_hold_for_seeds_that_never_ran_before() {
    run_drawn(&seeds::fresh(FRESH_SEEDS));
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in seeds::chosen_or(0..20) {
        assert_eq!(run(seed, Scenario::drawn(seed)), run(seed, Scenario::drawn(seed)));
        let other = run(seed ^ 0x100, Scenario::drawn(seed));
        assert_ne!(run(seed, Scenario::drawn(seed)).trace, other.trace);
    }
}

/// Nothing that is sent without the keys may end a connection that would otherwise persist.
#[test]
fn an_attacker_changes_nothing() {
    let scenario = Scenario { attacks: Some(Duration::from_millis(1)), ..Scenario::steady() };
    let outcomes = seeds::run_all("transport", &seeds::chosen_or(5_000..5_010), |seed| {
        let outcome = run(seed, scenario.clone());
        assert_eq!((outcome.lives, outcome.opened, outcome.timed_out), (2, 2, 0), "{outcome:?}");
        assert!(outcome.arrived > 1_000, "{outcome:?}");
        outcome
    });
    assert!(outcomes.iter().all(|outcome| outcome.attacks > 1_000));
}

/// Clients change port and address, back and forth, twice in a row, and to other workers' sockets.
#[test]
fn connections_survive_changes_of_address() {
    let scenario = Scenario {
        address_changes: Some(Duration::from_secs(1)),
        busy: Duration::from_secs(10),
        ..Scenario::steady()
    };
    let outcomes = seeds::run_all("transport", &seeds::chosen_or(6_000..6_020), |seed| {
        let outcome = run(seed, scenario.clone());
        assert_eq!((outcome.lives, outcome.opened, outcome.timed_out), (2, 2, 0), "{outcome:?}");
        assert!(outcome.arrived > 1_000, "{outcome:?}");
        outcome
    });
    assert!(outcomes.iter().all(|outcome| outcome.moves > 3 && outcome.foreign > 0));
}

/// Clients connect, send and stay connected whatever paths do with ECN marks; paths that drop marked packets
/// soon receive none.
// spec-test: ECN-2
#[test]
fn connections_live_whatever_becomes_of_marks() {
    for marks in [Marks::Clear, Marks::Drop, Marks::Congest] {
        let mut scenario = Scenario { address_changes: Some(Duration::from_secs(2)), ..Scenario::steady() };
        for link in scenario.paths.iter_mut().flat_map(|path| [&mut path.up, &mut path.down]) {
            link.marks = marks;
        }
        for outcome in seeds::run_all("transport", &seeds::chosen_or(7_000..7_010), |seed| {
            let outcome = run(seed, scenario.clone());
            assert_eq!((outcome.lives, outcome.opened, outcome.timed_out), (2, 2, 0), "{outcome:?}");
            outcome
        }) {
            assert!(outcome.arrived > 1_000, "{outcome:?}");
            let few = 0..outcome.datagrams / 10;
            match marks {
                Marks::Drop => assert!(outcome.marks_dropped > 0 && few.contains(&outcome.marks_dropped)),
                Marks::Congest => assert!(!few.contains(&outcome.congested)),
                Marks::Keep | Marks::Clear => {}
            }
        }
    }
}
