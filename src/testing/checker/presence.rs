//! Presence: how long each member was in its session and could be reached.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Life, Seat};
use crate::base::Timestamp;
use crate::client::core::Event;

/// When members entered and left, and when their connections were disturbed.
#[derive(Default)]
pub(super) struct Presence {
    entered: BTreeMap<Seat, (Life, Timestamp)>,
    /// When members were told that they are members no longer.
    left: BTreeMap<Seat, Timestamp>,
    /// When connections first changed their address, or ended. What is sent to a former address is lost.
    disturbed: BTreeMap<Life, Timestamp>,
}

/// Longest time on an undisturbed path from the sending of a message until its arrival.
pub(super) const LONGEST_WAY: Duration = Duration::from_secs(1);

impl Presence {
    /// Records an event that the member at `seat` received.
    pub(super) fn event(&mut self, now: Timestamp, life: Life, seat: Seat, event: &Event) {
        match event {
            Event::Entered { .. } => _ = self.entered.insert(seat, (life, now)),
            event if event.ends_membership() => _ = self.left.insert(seat, now),
            _ => {}
        }
    }

    /// Records that a connection has ended or changed its address.
    pub(super) fn disturbed(&mut self, now: Timestamp, life: Life) {
        self.disturbed.entry(life).or_insert(now);
    }

    /// Returns true if what was sent at `sent` was certainly carried to or from this member, at an address
    /// that it never changed before. `now` is the end of the run.
    pub(super) fn was_there(&self, seat: Seat, sent: Timestamp, now: Timestamp) -> bool {
        let Some((life, entered)) = self.entered.get(&seat) else { return false };
        let ends = [self.left.get(&seat), self.disturbed.get(life), Some(&now)];
        *entered < sent && ends.into_iter().flatten().all(|end| sent + LONGEST_WAY < *end)
    }
}
