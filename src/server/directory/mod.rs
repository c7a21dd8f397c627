//! The user directory: where each user is connected, and what the user holds across sessions.
//!
//! Shared by all workers and striped by user. For each user it stores the live connection, the number of
//! sessions taken or reserved, and the open invites. It is never locked together with a stripe of the session
//! table: an operation on both *reserves* here, changes the table, then *commits* or *cancels* here.
//!
//! Notifications about invites are decided under the user's stripe: the `tell` closures run there and must
//! only post mail. So a connection learns of an invite exactly once (by mail if the connection existed
//! before, otherwise with the answer of [`Directory::connect`]), and the end of an invite never overtakes it.

mod invites;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

pub use self::invites::{InviteNews, OpenInvite};

use self::invites::Invites;
use super::limits::{Limits, size};
use crate::base::sync::{AtomicUsize, CachePadded, Mutex, MutexGuard};
use crate::base::{ConnectionId, LoginNumber, Rare, UserId};

/// The users of a server. All methods hold the lock of one stripe at a time.
pub struct Directory {
    stripes: Box<[Stripe]>,
    hasher: RandomState,
    limits: DirectoryLimits,
    /// Number of connected users. Changed under the lock of the user's stripe.
    users: AtomicUsize,
    /// Number of connections so far.
    logins: AtomicU64,
}

/// A connection that has become its user's live one.
#[derive(Debug, PartialEq, Eq)]
pub struct Login {
    /// Larger than the number of every older connection of the user.
    pub number: LoginNumber,
    /// The connection that was live until now and must be closed.
    pub replaced: Option<ConnectionId>,
    /// The invites that are open for the user.
    pub invites: Vec<OpenInvite>,
}

/// Limits of connected users, and of what each of them may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DirectoryLimits {
    /// Users that may be connected at the same time.
    pub users: usize,
    /// Sessions that a user may be in at the same time.
    pub sessions_per_user: usize,
    /// Invites that may be open for a user at the same time.
    pub invites_per_user: usize,
    /// Invites by a user that may be open at the same time.
    pub invites_by_user: usize,
}

impl From<&Limits> for DirectoryLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            users: size(limits.max_connections),
            sessions_per_user: size(limits.sessions_per_user),
            invites_per_user: size(limits.invites_per_user),
            invites_by_user: size(limits.invites_by_user),
        }
    }
}

/// A user already holds as much as is allowed; nothing was reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the user holds the {limit} that are allowed")]
pub struct LimitReached {
    /// The number allowed.
    pub limit: usize,
}

/// One lock and its users.
type Stripe = CachePadded<Mutex<HashMap<UserId, Entry>>>;

#[derive(Default)]
struct Entry {
    live: Option<ConnectionId>,
    /// Number of sessions taken or reserved.
    sessions: usize,
    invites: Rare<Invites>,
    /// Number of invites by the user, to anyone, that are open or reserved.
    invites_by: usize,
}

impl Directory {
    /// Creates an empty directory of `stripes` stripes, at least one.
    pub fn new(stripes: usize, limits: DirectoryLimits) -> Self {
        let stripes = (0..stripes.max(1)).map(|_| Stripe::default()).collect();
        let (users, logins) = (AtomicUsize::new(0), AtomicU64::new(0));
        Self { stripes, hasher: RandomState::new(), limits, users, logins }
    }

    /// Makes `connection` the user's live one; `None` if the limit of connected users is reached. A user who
    /// is already connected takes no further place.
    // spec: LIM-5
    pub fn connect(&self, user: &UserId, connection: ConnectionId) -> Option<Login> {
        self.change(user, |entry| {
            if entry.live.is_none() && !self.take_place() {
                return None;
            }
            let replaced = entry.live.replace(connection);
            // Under the user's lock, so that numbers grow as connections replace each other.
            let number = LoginNumber(self.logins.fetch_add(1, Ordering::Relaxed) + 1);
            Some(Login { number, replaced, invites: entry.invites.open().to_vec() })
        })
    }

    fn take_place(&self) -> bool {
        let one_more = |users| (users < self.limits.users).then_some(users + 1);
        self.users.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    /// Returns true if [`Self::connect`] would currently find a place for the user.
    pub fn has_place(&self, user: &UserId) -> bool {
        self.users() < self.limits.users || self.live(user).is_some()
    }

    /// Returns the number of users that are currently connected.
    pub fn users(&self) -> usize {
        self.users.load(Ordering::Relaxed)
    }

    /// Forgets the user's live connection, unless another one has replaced `connection`.
    pub fn disconnect(&self, user: &UserId, connection: ConnectionId) {
        self.change(user, |entry| {
            if entry.live == Some(connection) {
                entry.live = None;
                self.users.fetch_sub(1, Ordering::Relaxed);
                entry.invites.forget_withdrawn();
            }
        });
    }

    /// Returns the user's current live connection.
    pub fn live(&self, user: &UserId) -> Option<ConnectionId> {
        self.lock(user).get(user).and_then(|entry| entry.live)
    }

    /// Reserves one of the sessions that the user may be in.
    ///
    /// # Errors
    /// [`LimitReached`].
    pub fn reserve_session(&self, user: &UserId) -> Result<(), LimitReached> {
        let limit = self.limits.sessions_per_user;
        self.change(user, |entry| {
            if entry.sessions >= limit {
                return Err(LimitReached { limit });
            }
            entry.sessions += 1;
            Ok(())
        })
    }

    /// Releases what [`Directory::reserve_session`] has reserved.
    pub fn release_session(&self, user: &UserId) {
        self.change(user, |entry| {
            debug_assert!(entry.sessions > 0, "more sessions released than reserved");
            entry.sessions = entry.sessions.saturating_sub(1);
        });
    }

    /// Returns the number of users with an entry: connected, in a session, invited, or with invites to
    /// others.
    #[cfg(any(test, feature = "testing"))]
    pub fn len(&self) -> usize {
        self.stripes.iter().map(|stripe| stripe.lock().len()).sum()
    }

    /// Returns true if no user has an entry.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Changes a user's entry, and removes it if it no longer holds anything.
    fn change<T>(&self, user: &UserId, change: impl FnOnce(&mut Entry) -> T) -> T {
        let mut users = self.lock(user);
        let entry = users.entry(user.clone()).or_default();
        let result = change(entry);
        if entry.invites.is_vacant() {
            entry.invites.clear();
        }
        if entry.is_vacant() {
            users.remove(user);
        }
        result
    }

    fn lock(&self, user: &UserId) -> MutexGuard<'_, HashMap<UserId, Entry>> {
        let hash = self.hasher.hash_one(user);
        let at = usize::try_from(hash % self.stripes.len() as u64).unwrap_or(0);
        self.stripes.get(at).expect("invariant: the index is below the number of stripes").lock()
    }
}

impl Entry {
    fn is_vacant(&self) -> bool {
        self.live.is_none() && self.sessions == 0 && self.invites_by == 0 && self.invites.is_vacant()
    }
}
