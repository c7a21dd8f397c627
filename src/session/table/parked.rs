//! [`Parked`]: the sessions that nobody is in, by whom they were left behind.

use std::collections::{BTreeSet, HashMap};

use crate::base::{SessionId, Timestamp, UserId};

/// Sessions that may give way to new ones: nobody is in them, and none is claimed.
#[derive(Default)]
pub(super) struct Parked {
    /// Of each last owner, by the end of their time.
    by_owner: HashMap<UserId, BTreeSet<(Timestamp, SessionId)>>,
    /// How many each of them has.
    counts: BTreeSet<(usize, UserId)>,
}

impl Parked {
    /// One of `owner`'s is there until then.
    pub(super) fn add(&mut self, owner: &UserId, until: Timestamp, session: SessionId) {
        self.change(owner, |sessions| _ = sessions.insert((until, session)));
    }

    /// It is not any more.
    pub(super) fn remove(&mut self, owner: &UserId, until: Timestamp, session: SessionId) {
        self.change(owner, |sessions| _ = sessions.remove(&(until, session)));
    }

    /// Of the sessions of the user who has left most behind (of several the one with the highest id) the one with the
    /// longest time left after `now`.
    pub(super) fn first_to_go(&self, now: Timestamp) -> Option<SessionId> {
        let longest = |(_, owner): &(usize, UserId)| self.by_owner.get(owner)?.last().copied();
        let of_owners = self.counts.iter().rev().filter_map(longest);
        of_owners.filter(|(until, _)| *until > now).map(|(_, session)| session).next()
    }

    /// Where a user has left `most` behind or more: the one of them that ends first after `now`.
    pub(super) fn surplus_of(&self, owner: &UserId, now: Timestamp, most: usize) -> Option<SessionId> {
        let sessions = self.by_owner.get(owner).filter(|sessions| sessions.len() >= most)?;
        sessions.iter().find(|(until, _)| *until > now).map(|(_, session)| *session)
    }

    /// True when there are none.
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
