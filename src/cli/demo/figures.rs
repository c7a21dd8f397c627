//! [`Figures`]: the combined figures of all players of a demo, and the report.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::base::sync::{Mutex, MutexGuard};
use crate::cli::output::{Table, note};
use crate::cli::verify::Latency;
use crate::net::Clock;

/// The figures so far, shown as they change.
pub struct Figures {
    counts: Mutex<Counts>,
    progress: ProgressBar,
    /// The clock of the whole demo; latencies are differences of its times.
    pub clock: Clock,
}

/// The counts of a demo.
#[derive(Debug, Default)]
pub struct Counts {
    /// Broadcasts sent.
    pub sent: u64,
    /// Deliveries that they should have caused; known once a session is over.
    pub expected: u64,
    /// Deliveries that arrived byte for byte as sent.
    pub delivered: u64,
    /// Events that are out of order, or in a different place than at other members.
    pub order_violations: u64,
    /// Events that had arrived before.
    pub duplicates: u64,
    /// Commands that had to be refused, and were refused for the right reason.
    pub refusals: u64,
    /// Time from the call of `send` to the delivery, counted for each receiver.
    pub latency: Latency,
    /// The demo was told to end early, and may not have come to its deliveries.
    pub ended_early: bool,
    /// Other problems.
    pub problems: Vec<String>,
}

impl Figures {
    /// Creates empty figures.
    pub fn new() -> Self {
        let style = ProgressStyle::with_template("{spinner} {elapsed_precise}  {pos} deliveries verified");
        let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
        let progress = ProgressBar::new_spinner().with_style(style);
        progress.enable_steady_tick(Duration::from_millis(100));
        Self { counts: Mutex::default(), progress, clock: Clock::new() }
    }

    /// Locks the counts, to read or update them.
    pub fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock()
    }

    /// Returns the microseconds since the demo began.
    pub fn now_micros(&self) -> u64 {
        self.clock.mono().as_micros()
    }

    /// Counts a correct delivery.
    pub fn delivered(&self, sent_micros: u64) {
        let now = self.now_micros();
        let mut counts = self.lock();
        counts.delivered += 1;
        counts.latency.record(now.saturating_sub(sent_micros));
        let is_first = counts.delivered == 1;
        drop(counts);
        self.progress.inc(1);
        if is_first {
            self.tell(format_args!(
                "first verified delivery after {:.2} s",
                Duration::from_micros(now).as_secs_f64()
            ));
        }
    }

    /// Reports progress on standard error.
    pub fn tell(&self, line: impl std::fmt::Display) {
        if self.progress.is_hidden() { note(line) } else { self.progress.println(line.to_string()) }
    }

    /// Reports and records a problem.
    pub fn problem(&self, what: impl std::fmt::Display) {
        self.tell(format_args!("problem: {what}"));
        self.lock().problems.push(what.to_string());
    }

    /// Removes the progress bar.
    pub fn finish(&self) {
        self.progress.finish_and_clear();
    }
}

impl Counts {
    /// Returns the failed checks and the problems; empty if every check holds.
    pub fn failures(&self) -> Vec<String> {
        let missing = self.expected.saturating_sub(self.delivered);
        let checks = [
            (self.expected == 0 && !self.ended_early, "nothing was delivered".to_owned()),
            (missing > 0, format!("{missing} deliveries are missing")),
            (self.order_violations > 0, format!("{} order violations", self.order_violations)),
            (self.duplicates > 0, format!("{} duplicates", self.duplicates)),
        ];
        let failed = checks.into_iter().filter_map(|(failed, what)| failed.then_some(what));
        failed.chain(self.problems.iter().cloned()).collect()
    }

    /// Returns all counts as one JSON object.
    pub fn to_json(&self, sessions: u16, members: u16) -> Value {
        json!({
            "sessions": sessions,
            "members": members,
            "sent": self.sent,
            "expected": self.expected,
            "delivered": self.delivered,
            "delivery_ratio": self.delivery_ratio(),
            "order_violations": self.order_violations,
            "duplicates": self.duplicates,
            "refusals_checked": self.refusals,
            "ended_early": self.ended_early,
            "latency_us": self.latency.to_json(),
        })
    }

    /// Returns all counts as a table for people.
    pub fn to_table(&self, sessions: u16, members: u16) -> Table {
        let ratio = self.delivery_ratio().map_or("unknown".to_owned(), |ratio| format!("{ratio:.3}"));
        let mut table = Table::new();
        table
            .row("sessions", format_args!("{sessions} of {members} members"))
            .row("sent", self.sent)
            .row("delivered", format_args!("{} of {} expected, ratio {ratio}", self.delivered, self.expected))
            .row("order violations", self.order_violations)
            .row("duplicates", self.duplicates)
            .row("refusals checked", self.refusals)
            .row("latency", &self.latency);
        table
    }

    #[allow(clippy::cast_precision_loss, reason = "a figure for people; 2^53 is far away")]
    fn delivery_ratio(&self) -> Option<f64> {
        (self.expected > 0).then(|| self.delivered as f64 / self.expected as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_has_the_documented_keys() {
        let json = Counts::default().to_json(2, 8);
        let keys: Vec<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
        let documented = [
            "delivered",
            "delivery_ratio",
            "duplicates",
            "ended_early",
            "expected",
            "latency_us",
            "members",
            "order_violations",
            "refusals_checked",
            "sent",
            "sessions",
        ];
        assert_eq!(keys, documented);
    }

    #[test]
    fn what_does_not_hold_is_named() {
        let right = || Counts { expected: 4, delivered: 4, ..Counts::default() };
        assert!(right().failures().is_empty());
        for (wrong, named) in [
            (Counts { delivered: 3, ..right() }, "1 deliveries are missing"),
            (Counts { duplicates: 1, ..right() }, "1 duplicates"),
            (Counts { order_violations: 2, ..right() }, "2 order violations"),
            (Counts { problems: vec!["fire".to_owned()], ..right() }, "fire"),
            (Counts::default(), "nothing was delivered"),
        ] {
            assert_eq!(wrong.failures(), [named]);
        }
    }
}
