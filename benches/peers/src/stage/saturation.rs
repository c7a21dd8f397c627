//! The capacity of a peer's server: increasing numbers of sessions of 8 at 30 Hz.

use super::job::{Figures, Job};
use crate::error::{Error, Result};

/// Maximum 99th percentile of the delivery latency, in microseconds.
const LATEST_US: f64 = 50_000.0;
/// Minimum share of sent messages that must be delivered.
const LEAST_RATIO: f64 = 0.999;
/// Minimum share of planned messages that must be sent; below it the load is the bottleneck.
const LEAST_SENT: f64 = 0.99;
/// The search ends when the smallest failing number is at most this multiple of the largest passing one.
const CLOSE: f64 = 1.2;
/// Number of attempts before a step counts as failed, because the machine may have been busy.
const TRIES: usize = 2;

/// Searches for the largest number of sessions that pass, and returns their figures and the latency with half
/// of them.
///
/// # Errors
/// When not even one session passes.
pub fn play(job: &Job) -> Result<Figures> {
    let (first, members) = job.workload.shape();
    let mut search = Search::new(first, job.max_clients() / members);
    let mut best = Err(Error::bound("no step was taken"));
    while let Some(sessions) = search.next() {
        let mut outcome = step(job, sessions);
        for _ in 1..TRIES {
            outcome = outcome.or_else(|_| step(job, sessions));
        }
        search.note(sessions, outcome.is_ok());
        if outcome.is_ok() || best.is_err() {
            best = outcome;
        }
    }
    let mut figures = best?;
    let sessions = search.good.unwrap_or(1);
    figures.insert("sessions".to_owned(), sessions as f64);
    let half = Job { sessions: Some((sessions / 2).max(1)), ..*job }.play()?;
    if let Some(p99) = half.get("p99_us") {
        figures.insert("p99_at_half_us".to_owned(), *p99);
    }
    Ok(figures)
}

/// The range of the number of sessions that contains the limit.
struct Search {
    first: usize,
    most: usize,
    good: Option<usize>,
    bad: Option<usize>,
}

impl Search {
    fn new(first: usize, most: usize) -> Self {
        Self { first, most, good: None, bad: None }
    }

    /// Returns the next number to try: twice as many, or half, until one has passed and one has failed, then
    /// a number in between. `None` when the limit is known.
    fn next(&self) -> Option<usize> {
        match (self.good, self.bad) {
            (None, None) => Some(self.first.min(self.most)),
            (Some(good), None) => Some((good * 2).min(self.most)).filter(|next| *next > good),
            (None, Some(bad)) => Some(bad / 2).filter(|next| *next > 0),
            (Some(good), Some(bad)) => {
                let between = ((good * bad) as f64).sqrt().round() as usize;
                let is_close = bad as f64 <= good as f64 * CLOSE;
                Some(between).filter(|next| !is_close && *next > good && *next < bad)
            }
        }
    }

    fn note(&mut self, sessions: usize, went_well: bool) {
        let side = if went_well { &mut self.good } else { &mut self.bad };
        *side = Some(sessions);
    }
}

/// Runs one number of sessions; an error if it does not pass.
fn step(job: &Job, sessions: usize) -> Result<Figures> {
    let figures = Job { sessions: Some(sessions), ..*job }.play()?;
    match fault(&figures) {
        Some(why) => Err(Error::bound(format_args!("{sessions} sessions: {why}"))),
        None => Ok(figures),
    }
}

/// Returns the criterion that failed, if any.
fn fault(figures: &Figures) -> Option<String> {
    let of = |name: &str| figures.get(name).copied().unwrap_or(0.0);
    if of("ratio") < LEAST_RATIO {
        return Some(format!("a ratio of {:.4}", of("ratio")));
    }
    if of("p99_us") > LATEST_US {
        return Some(format!("p99 of {:.0} us", of("p99_us")));
    }
    (of("sent_ratio") < LEAST_SENT).then(|| "the load sent too little".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the result of a search when up to `limit` sessions pass, and its number of steps.
    fn search(limit: usize, most: usize) -> (Option<usize>, usize) {
        let (mut search, mut steps) = (Search::new(32, most), 0);
        while let Some(sessions) = search.next() {
            search.note(sessions, sessions <= limit);
            steps += 1;
        }
        (search.good, steps)
    }

    #[test]
    fn a_search_comes_close_to_the_limit_from_below() {
        for limit in [1, 3, 10, 31, 32, 33, 100, 127, 999, 1_000] {
            let (found, steps) = search(limit, 1_000);
            let found = found.unwrap_or(0);
            assert!(found <= limit && found as f64 * CLOSE * 1.3 > limit as f64, "{found} of {limit}");
            assert!(steps <= 9, "{steps} for {limit}");
        }
        assert_eq!(search(0, 1_000).0, None);
        assert_eq!(search(500, 128).0, Some(128));
        assert_eq!(search(500, 20).0, Some(20));
    }

    #[test]
    fn late_or_lost_or_unsent_is_a_fault() {
        let figures = |ratio: f64, p99: f64, sent: f64| {
            let named = [("ratio", ratio), ("p99_us", p99), ("sent_ratio", sent)];
            named.map(|(name, value)| (name.to_owned(), value)).into_iter().collect::<Figures>()
        };
        assert_eq!(fault(&figures(1.0, 49_000.0, 1.0)), None);
        assert!(fault(&figures(0.99, 49_000.0, 1.0)).is_some());
        assert!(fault(&figures(1.0, 51_000.0, 1.0)).is_some());
        assert!(fault(&figures(1.0, 49_000.0, 0.9)).is_some());
        assert!(fault(&Figures::new()).is_some());
    }
}
