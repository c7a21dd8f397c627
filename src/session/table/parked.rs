//! [`Parked`]: the empty sessions, by their last owner.

use std::collections::{BTreeSet, HashMap};

use crate::base::{SessionId, Timestamp, UserId};

/// Sessions that may give way to new ones: empty and not claimed.
#[derive(Default)]
pub(super) struct Parked {
    /// The sessions of each last owner, by the end of their idle time.
    by_owner: HashMap<UserId, BTreeSet<(Timestamp, SessionId)>>,
    /// The number of sessions of each last owner.
    counts: BTreeSet<(usize, UserId)>,
}

impl Parked {
    /// Adds a session of `owner` that lasts until `until`.
    pub(super) fn add(&mut self, owner: &UserId, until: Timestamp, session: SessionId) {
        self.change(owner, |sessions| _ = sessions.insert((until, session)));
    }

    /// Removes a session of `owner`.
    pub(super) fn remove(&mut self, owner: &UserId, until: Timestamp, session: SessionId) {
        self.change(owner, |sessions| _ = sessions.remove(&(until, session)));
    }

    /// Returns the session with the longest time left, among those of the user who left most sessions behind
    /// (on a tie, the user with the highest id). One whose time is over gives way as well: the keeper of its
    /// stripe may not have come to it yet.
    pub(super) fn first_to_go(&self) -> Option<SessionId> {
        let (_, owner) = self.counts.last()?;
        self.by_owner.get(owner)?.last().map(|(_, session)| *session)
    }

    /// If a user has left at least `most` sessions behind, returns the one of them that ends first.
    pub(super) fn surplus_of(&self, owner: &UserId, most: usize) -> Option<SessionId> {
        let sessions = self.by_owner.get(owner).filter(|sessions| sessions.len() >= most)?;
        sessions.first().map(|(_, session)| *session)
    }

    /// Returns true if no session is parked.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_owner.is_empty() && self.counts.is_empty()
    }

    fn change(&mut self, owner: &UserId, change: impl FnOnce(&mut BTreeSet<(Timestamp, SessionId)>)) {
        let sessions = self.by_owner.entry(owner.clone()).or_default();
        let before = sessions.len();
        change(sessions);
        let after = sessions.len();
        self.counts.remove(&(before, owner.clone()));
        if after == 0 {
            self.by_owner.remove(owner);
        } else {
            self.counts.insert((after, owner.clone()));
        }
    }
}
