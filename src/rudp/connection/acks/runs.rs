//! [`Runs`]: the numbers that arrived.

use smallvec::SmallVec;

use crate::wire::frame::MAX_ACK_RUNS;

/// Runs of received numbers, `first..=last`, newest first: no more, and over no wider a span, than an ack can
/// express. One run while nothing is missing.
#[derive(Debug, Default)]
pub struct Runs(SmallVec<[(u64, u64); 1]>);

/// Distance below the largest number at which numbers are forgotten.
const SPAN: u64 = 1 << 14;

impl Runs {
    /// Returns the largest number.
    pub fn largest(&self) -> Option<u64> {
        self.0.first().map(|run| run.1)
    }

    /// Returns the runs, newest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().copied()
    }

    /// Adds a number, joins neighbours and forgets the oldest.
    pub fn insert(&mut self, number: u64) {
        let at = self.0.iter().position(|run| run.0 <= number + 1).unwrap_or(self.0.len());
        match self.0.get_mut(at) {
            Some(run) if (run.0..=run.1).contains(&number) => return,
            Some(run) if run.1 + 1 == number => run.1 = number,
            Some(run) if run.0 == number + 1 => run.0 = number,
            _ => self.0.insert(at, (number, number)),
        }
        self.join(at);
        self.0.truncate(MAX_ACK_RUNS + 1);
        self.forget_old();
    }

    /// Releases memory beyond what is in use.
    pub fn shrink(&mut self) {
        self.0.shrink_to_fit();
    }

    fn join(&mut self, at: usize) {
        // The run at `at` may now touch the older one behind it.
        if let (Some(&newer), Some(&older)) = (self.0.get(at), self.0.get(at + 1))
            && older.1 + 1 >= newer.0
        {
            self.0.remove(at + 1);
            if let Some(run) = self.0.get_mut(at) {
                run.0 = older.0;
            }
        }
    }

    fn forget_old(&mut self) {
        let Some(largest) = self.largest() else { return };
        let floor = largest.saturating_sub(SPAN);
        while self.0.last().is_some_and(|run| run.1 < floor) {
            self.0.pop();
        }
        if let Some(run) = self.0.last_mut() {
            run.0 = run.0.max(floor);
        }
    }
}
