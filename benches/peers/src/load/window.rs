//! Sends when something arrives: each client keeps a window of messages in flight.

use serde_json::{Value, json};

use super::{Clients, Inbox, Marks, Plan, Spec};
use crate::error::{Error, Result};
use crate::message::{Kind, MAX_BYTES, Stamp};
use crate::sys;

/// Time without an arrival after which a client's messages in flight count as lost.
const LOST_NANOS: u64 = 500_000_000;
/// Number of times that this may happen to a client.
const MAX_LOSSES: u64 = 20;

/// A client's messages in flight.
struct Window {
    sent: u64,
    arrived: u64,
    lost: u64,
    losses: u64,
    /// Time of the last arrival.
    since: u64,
}

impl Window {
    fn new(now: u64) -> Self {
        Self { sent: 0, arrived: 0, lost: 0, losses: 0, since: now }
    }

    /// Updates the window with the total number of arrivals, and returns how many messages of a window of
    /// `size` may be sent.
    ///
    /// # Errors
    /// [`Error::Bound`] when too much is lost.
    fn open(&mut self, arrived: u64, now: u64, size: u64) -> Result<u64> {
        if arrived != self.arrived {
            (self.arrived, self.since) = (arrived, now);
        } else if now.saturating_sub(self.since) >= LOST_NANOS && self.under_way() > 0 {
            self.losses += 1;
            if self.losses > MAX_LOSSES {
                return Err(Error::bound("too many messages were lost"));
            }
            (self.lost, self.since) = (self.sent.saturating_sub(arrived), now);
        }
        Ok(size.saturating_sub(self.under_way()))
    }

    fn under_way(&self) -> u64 {
        // Messages that counted as lost may still arrive.
        self.sent.saturating_sub(self.arrived + self.lost)
    }
}

/// Runs the plan, and returns its result.
///
/// # Errors
/// When the clients cannot continue, or too much is lost.
pub fn run(spec: &Spec, clients: &mut dyn Clients, inbox: &Inbox) -> Result<Value> {
    let Plan::Window { window, size, warmup_ms, counted_ms } = spec.plan else {
        return Err(Error::bound("not a plan with a window"));
    };
    let mut body = [0; MAX_BYTES];
    let body = body.get_mut(..size).ok_or_else(|| Error::bound("a message is too long"))?;
    let mut marks = Marks::new(sys::nanos(), warmup_ms, counted_ms);
    let mut windows: Vec<Window> = (0..spec.clients()).map(|_| Window::new(sys::nanos())).collect();
    while !marks.pass(sys::nanos(), inbox) {
        let now = sys::nanos();
        let kind = if marks.is_counting() { Kind::Counted } else { Kind::Early };
        for (client, of_client) in windows.iter_mut().enumerate() {
            for _ in 0..of_client.open(inbox.arrivals_at(client), now, window)? {
                Stamp { kind, sender: client as u32, sent_nanos: sys::nanos() }.write(body);
                clients.send(client, body)?;
                of_client.sent += 1;
            }
        }
        clients.turn(marks.next().min(now + 50_000_000))?;
    }
    let lost: u64 = windows.iter().map(|of_client| of_client.lost).sum();
    Ok(json!({ "arrivals": marks.arrivals(inbox), "lost": lost, "inbox": inbox.report() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_opens_by_what_arrives_and_by_what_is_lost() {
        let mut window = Window::new(0);
        assert_eq!(window.open(0, 1, 8).ok(), Some(8));
        window.sent = 8;
        assert_eq!(window.open(3, 2, 8).ok(), Some(3));
        assert_eq!(window.open(3, LOST_NANOS, 8).ok(), Some(3));
        assert_eq!(window.open(3, LOST_NANOS + 2, 8).ok(), Some(8));
        assert_eq!(window.lost, 5);
        for loss in 2..=MAX_LOSSES {
            window.sent += 8;
            assert!(window.open(3, (LOST_NANOS + 2) * loss, 8).is_ok());
        }
        window.sent += 8;
        assert!(window.open(3, (LOST_NANOS + 2) * (MAX_LOSSES + 1), 8).is_err());
    }
}
