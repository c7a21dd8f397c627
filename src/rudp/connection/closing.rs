//! [`Closing`]: tells the peer that the connection has ended, until it confirms or the time is over.

use std::time::Duration;

use crate::base::Timestamp;
use crate::wire::frame::Close;

/// A CLOSE, and when it leaves.
#[derive(Debug)]
pub struct Closing {
    frame: Close,
    repeats: Repeats,
    /// How often CLOSE was sent, and when last.
    said: u32,
    said_at: Timestamp,
    /// When CLOSE is sent next.
    due: Timestamp,
    /// When CLOSE is no longer repeated.
    until: Timestamp,
}

/// How often CLOSE is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// Only once: it is an answer, or goes to a peer that may be gone.
    Once,
    /// Until the peer confirms it.
    UntilConfirmed,
}

/// A CLOSE that leaves now.
#[derive(Debug)]
pub struct Sending {
    /// The frame.
    pub frame: Close,
    /// It goes to the address that the peer may have moved to, if any: every other CLOSE does, and one that
    /// is sent only once.
    pub prefers_pending: bool,
    /// Nothing is sent any more.
    pub is_last: bool,
}

/// What follows a CLOSE of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// This end's CLOSE is still due.
    GoOn,
    /// Both ends know.
    End,
}

/// How long CLOSE is repeated without an answer; most outages of a line are shorter. Spec: CON-6.
const CLOSE_TIME: Duration = Duration::from_secs(3);
/// Bounds of the probe timeout after which CLOSE is repeated; each further interval is twice as long.
const INTERVAL: (Duration, Duration) = (Duration::from_millis(30), Duration::from_millis(300));
/// Maximum time between two CLOSEs.
const MAX_INTERVAL: Duration = Duration::from_secs(1);
/// After this many CLOSEs, packets from the peer no longer make the next one leave sooner.
const MAX_CLOSES: u32 = 32;

impl Closing {
    /// Makes `frame` leave from `now` on.
    // spec: CON-6
    pub fn new(now: Timestamp, frame: Close, repeats: Repeats) -> Self {
        Self { frame, repeats, said: 0, said_at: now, due: now, until: now + CLOSE_TIME }
    }

    /// Takes the CLOSE that is due; `probe_timeout` is that without an ack delay.
    // spec: CON-6
    pub fn take(&mut self, now: Timestamp, probe_timeout: Duration) -> Option<Sending> {
        if now < self.due || self.is_over(now) {
            return None;
        }
        self.due = self.until.min(now + interval(probe_timeout, self.said));
        self.said += 1;
        self.said_at = now;
        let is_last = self.repeats == Repeats::Once;
        let prefers_pending = is_last || self.said.is_multiple_of(2);
        Some(Sending { frame: self.frame.clone(), prefers_pending, is_last })
    }

    /// Schedules CLOSE again, at most as often as at first: the peer still sends, so it has not received it.
    // spec: CON-6
    pub fn hasten(&mut self, now: Timestamp, probe_timeout: Duration) {
        if (1..MAX_CLOSES).contains(&self.said) {
            self.due = self.due.min(now.max(self.said_at + interval(probe_timeout, 0)));
        }
    }

    /// Takes a CLOSE of the peer.
    // spec: CON-6
    pub fn on_close(&mut self) -> After {
        match (self.repeats, self.said) {
            // Another CLOSE, while the answer to the first is due.
            (Repeats::Once, _) => After::GoOn,
            // This end's own CLOSE has not left. It is the answer.
            (Repeats::UntilConfirmed, 0) => {
                self.repeats = Repeats::Once;
                After::GoOn
            }
            // Either the answer to this end's CLOSE or one that crossed it.
            (Repeats::UntilConfirmed, _) => After::End,
        }
    }

    /// Returns when CLOSE is due, or its time is over.
    pub fn deadline(&self) -> Timestamp {
        self.due
    }

    /// Returns whether CLOSE is no longer repeated.
    pub fn is_over(&self, now: Timestamp) -> bool {
        now >= self.until
    }
}

/// Returns the time from one CLOSE to the next, when it was sent `said` times before.
fn interval(probe_timeout: Duration, said: u32) -> Duration {
    let (min, max) = INTERVAL;
    (probe_timeout.clamp(min, max) * (1 << said.min(8))).min(MAX_INTERVAL)
}
