//! Connections of users: when each began and when the server knew it, so which may have replaced which.

use std::collections::BTreeMap;

use super::Life;
use crate::base::{Timestamp, UserId};

/// Every connection of every user, with its attempt to connect.
#[derive(Default)]
pub(super) struct Lives {
    all: BTreeMap<Life, One>,
}

struct One {
    user: UserId,
    /// When the server had answered its handshake. The server knows the connection some time later.
    connected: Option<Timestamp>,
    /// When it first received something. The server knew it before.
    heard: Option<Timestamp>,
}

impl Lives {
    pub(super) fn born(&mut self, life: Life, user: UserId) {
        self.all.insert(life, One { user, connected: None, heard: None });
    }

    pub(super) fn connected(&mut self, life: Life, now: Timestamp) {
        if let Some(one) = self.all.get_mut(&life) {
            one.connected.get_or_insert(now);
        }
    }

    pub(super) fn heard(&mut self, life: Life, now: Timestamp) {
        if let Some(one) = self.all.get_mut(&life) {
            one.heard.get_or_insert(now);
        }
    }

    pub(super) fn user(&self, life: Life) -> Option<&UserId> {
        self.all.get(&life).map(|one| &one.user)
    }

    /// Returns the time at which the server had answered a life's handshake; before it, the server told it
    /// nothing.
    pub(super) fn connected_at(&self, life: Life) -> Timestamp {
        self.all.get(&life).and_then(|one| one.connected).unwrap_or_default()
    }

    /// Whether some life belongs to this user.
    pub(super) fn is_checked_user(&self, user: &UserId) -> bool {
        self.all.values().any(|one| one.user == *user)
    }

    /// Returns true if the server certainly knew this life before `at`.
    pub(super) fn was_known(&self, life: Life, at: Timestamp) -> bool {
        self.all.get(&life).and_then(|one| one.heard).is_some_and(|heard| heard < at)
    }

    /// Whether the server may have learned of another connection of the same user after this one.
    // spec: HSK-15
    pub(super) fn may_be_replaced(&self, life: Life) -> bool {
        let Some(One { user, connected: Some(connected), .. }) = self.all.get(&life) else { return false };
        let came_later = |(other, one): (&Life, &One)| {
            let was_earlier = one.heard.is_some_and(|heard| heard <= *connected);
            *other != life && one.user == *user && one.connected.is_some() && !was_earlier
        };
        self.all.iter().any(came_later)
    }
}
