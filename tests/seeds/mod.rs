//! Runs of a simulation by seed, on all cores.
//!
//! `RALLYPOINT_SEED=…` replays the one run of that seed; `RALLYPOINT_SEEDS=N` runs N fresh seeds instead of
//! the usual number.

use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Returns the seed to be replayed, if one is set.
pub fn chosen() -> Option<u64> {
    env::var("RALLYPOINT_SEED").ok().map(|seed| seed.parse().expect("RALLYPOINT_SEED is a number"))
}

/// Returns the chosen seed, or all of `usual`.
pub fn chosen_or(usual: std::ops::Range<u64>) -> Vec<u64> {
    chosen().map_or_else(|| usual.collect(), |seed| vec![seed])
}

/// Returns as many fresh seeds as the environment asks for, otherwise `usual`; only the chosen one if it is
/// set.
pub fn fresh(usual: u64) -> Vec<u64> {
    if let Some(seed) = chosen() {
        return vec![seed];
    }
    let count = env::var("RALLYPOINT_SEEDS");
    let count = count.ok().map_or(usual, |count| count.parse().expect("RALLYPOINT_SEEDS is a number"));
    // The only thing in this file that differs between runs; a failure reports its seed.
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let from = now as u64;
    (0..count).map(|number| from.wrapping_add(number).wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect()
}

/// Runs each of `seeds` on any core; returns the results in the order of the seeds.
///
/// # Panics
/// When a run panics, with the command that replays it; no further runs are begun then.
pub fn run_all<T: Send>(test: &str, seeds: &[u64], run: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let (next, results, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let work = || {
        while failed.lock().unwrap().is_empty() {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(&seed) = seeds.get(index) else { break };
            match panic::catch_unwind(AssertUnwindSafe(|| run(seed))) {
                Ok(result) => results.lock().unwrap().push((index, result)),
                Err(_) => failed.lock().unwrap().push(seed),
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    let replay = |seed: &u64| format!("RALLYPOINT_SEED={seed} cargo test --test {test}");
    let failed: Vec<_> = failed.into_inner().unwrap().iter().map(replay).collect();
    assert!(failed.is_empty(), "failed, see above; to replay:\n{}", failed.join("\n"));
    let mut results = results.into_inner().unwrap();
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
