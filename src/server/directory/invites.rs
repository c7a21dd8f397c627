//! Invites of users: which are open, and how many may come and go.
//!
//! | an invite is | while |
//! |---|---|
//! | reserved | its session is asked; it already counts for its user and for its inviter |
//! | open | it can be used; its user is told of it, now or when connecting |
//! | withdrawn | some seconds after others or time have ended it; it still counts for a user who was told |
//!
//! One that its user has ended, by using or declining it, is forgotten at once.

use std::time::Duration;

use super::{Directory, Entry, LimitReached};
use crate::base::codec::varint_len;
use crate::base::{Blank, ConnectionId, InviteId, SessionId, SessionKind, Timestamp, UserId};
use crate::wire::Note;
use crate::wire::event::Invitation;

/// An invite that can still be used, as its user sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenInvite {
    /// Id of the invite and its session.
    pub id: InviteId,
    /// Application-defined class of the session.
    pub kind: SessionKind,
    /// The user who invited.
    pub owner: UserId,
    /// First instant at which it does not admit.
    pub expires: Timestamp,
    /// Note of the owner.
    pub note: Note,
}

impl OpenInvite {
    /// Returns the invite as its user sees it at `now`.
    pub fn invitation(&self, now: Timestamp) -> Invitation {
        Invitation {
            invite: self.id,
            kind: self.kind,
            owner: self.owner.clone(),
            ttl_left_ms: self.ttl_left_ms(now),
            note: self.note.clone(),
        }
    }

    /// Returns the bytes that its [`Self::invitation`] takes on the wire.
    pub fn invitation_bytes(&self, now: Timestamp) -> usize {
        let text = |text: &str| varint_len(text.len() as u64) + text.len();
        let (session, number, kind) = (8, varint_len(u64::from(self.id.number)), 2);
        let ttl_left = varint_len(u64::from(self.ttl_left_ms(now)));
        session + number + kind + text(self.owner.as_str()) + ttl_left + text(self.note.as_str())
    }

    fn ttl_left_ms(&self, now: Timestamp) -> u32 {
        u32::try_from(self.expires.since(now).as_millis()).unwrap_or(u32::MAX)
    }
}

/// What a connected user is notified of when an invite is committed.
pub enum InviteNews<'a> {
    /// The invite, which also ends the one that it replaces.
    Invited(&'a OpenInvite),
    /// The end of the replaced invite: the new one has ended without having been reported.
    Revoked(InviteId),
}

/// A user's invites.
#[derive(Default)]
pub(super) struct Invites {
    /// Number of reserved invites.
    reserved: usize,
    open: Vec<OpenInvite>,
    /// At most as many as may be open, and a few of each further inviter.
    withdrawn: Vec<Withdrawn>,
    /// Invites that ended before they were committed. Kept only while some are reserved.
    ended_early: Vec<InviteId>,
}

/// An ended invite by `owner` that counts until `until`.
struct Withdrawn {
    owner: UserId,
    until: Timestamp,
}

/// Time for which an invite still counts that its user did not end. It limits an inviter who repeatedly
/// invites and revokes.
pub(super) const WITHDRAWN_COUNTS: Duration = Duration::from_secs(10);
/// Maximum of these by one inviter, or as many as one inviter may have open, if that is more.
const WITHDRAWN_BY_ONE: usize = 4;

impl Directory {
    /// Reserves one of the invites that may be open for the user, for an invite to `session` by its owner
    /// `by`. It will replace an open one of that session.
    ///
    /// # Errors
    /// [`LimitReached`].
    // spec: INV-7, LIM-9
    pub fn reserve_invite(
        &self,
        now: Timestamp,
        user: &UserId,
        by: &UserId,
        session: SessionId,
    ) -> Result<(), LimitReached> {
        let limit = self.limits.invites_per_user;
        // No single inviter can use up all places.
        let share = limit.div_ceil(4);
        let replaces_own = self.change(user, |entry| {
            let invites = &mut *entry.invites;
            invites.withdrawn.retain(|withdrawn| withdrawn.until > now);
            let by_one = invites.open.iter().filter(|invite| invite.owner == *by).count();
            let withdrawn = invites.withdrawn.iter().filter(|withdrawn| withdrawn.owner == *by).count();
            // However many invites others have withdrawn, each inviter may have one.
            let is_one_more = invites.withdrawn.len() >= limit && withdrawn > 0;
            if is_one_more || withdrawn >= share.max(WITHDRAWN_BY_ONE) {
                return Err(LimitReached { limit });
            }
            let replaced = invites.open.iter().find(|invite| invite.id.session == session);
            let replaces = usize::from(replaced.is_some());
            let replaces_own = usize::from(replaced.is_some_and(|replaced| replaced.owner == *by));
            let counted = invites.open.len() + invites.reserved;
            if counted >= limit + replaces || by_one >= share + replaces_own {
                return Err(LimitReached { limit });
            }
            invites.reserved += 1;
            Ok(replaces_own)
        })?;
        let limit = self.limits.invites_by_user;
        let counted = self.change(by, |entry| {
            if entry.invites_by >= limit + replaces_own {
                return Err(LimitReached { limit });
            }
            entry.invites_by += 1;
            Ok(())
        });
        if counted.is_err() {
            self.change(user, |entry| entry.invites.end_reservation());
        }
        counted
    }

    /// Counts that one invite by this user is no longer open.
    fn release_invite_by(&self, by: &UserId) {
        self.change(by, |entry| {
            debug_assert!(entry.invites_by > 0, "more invites ended than were reserved");
            entry.invites_by = entry.invites_by.saturating_sub(1);
        });
    }

    /// Turns a reserved invite into an open one, in place of `replaced`. `tell` runs if the user is connected.
    ///
    /// An invite that has ended in the meantime is neither kept nor reported.
    // spec: INV-7
    pub fn commit_invite(
        &self,
        now: Timestamp,
        user: &UserId,
        invite: OpenInvite,
        replaced: Option<InviteId>,
        tell: impl FnOnce(ConnectionId, InviteNews<'_>),
    ) {
        let ended = self.change(user, |entry| {
            let replaced = replaced.and_then(|replaced| entry.withdraw(now, replaced));
            let ended_early = entry.invites.ended_early.contains(&invite.id);
            entry.invites.end_reservation();
            if ended_early {
                if let (Some(live), Some(replaced)) = (entry.live, &replaced) {
                    tell(live, InviteNews::Revoked(replaced.id));
                }
                return [replaced, Some(invite)];
            }
            if let Some(live) = entry.live {
                tell(live, InviteNews::Invited(&invite));
            }
            entry.invites.open.push(invite);
            [replaced, None]
        });
        ended.iter().flatten().for_each(|ended| self.release_invite_by(&ended.owner));
    }

    /// Releases what [`Directory::reserve_invite`] has reserved for an invite to `user` by `by`.
    pub fn cancel_invite(&self, user: &UserId, by: &UserId) {
        self.change(user, |entry| entry.invites.end_reservation());
        self.release_invite_by(by);
    }

    /// Removes an invite that was ended by someone other than its user, or by time.
    ///
    /// `tell` runs if the invite was open here and the user is connected.
    // spec: LIM-9
    pub fn withdraw_invite(
        &self,
        now: Timestamp,
        user: &UserId,
        invite: InviteId,
        tell: impl FnOnce(ConnectionId),
    ) {
        self.end_invite(user, |entry| entry.withdraw(now, invite), tell);
    }

    /// Removes an invite that its user has used or declined.
    ///
    /// `tell` runs if the invite was open here and the user is connected.
    pub fn settle_invite(&self, user: &UserId, invite: InviteId, tell: impl FnOnce(ConnectionId)) {
        self.end_invite(user, |entry| entry.invites.end(invite), tell);
    }

    fn end_invite(
        &self,
        user: &UserId,
        end: impl FnOnce(&mut Entry) -> Option<OpenInvite>,
        tell: impl FnOnce(ConnectionId),
    ) {
        let ended = self.change(user, |entry| {
            let ended = end(entry)?;
            entry.live.map(tell);
            Some(ended)
        });
        if let Some(ended) = ended {
            self.release_invite_by(&ended.owner);
        }
    }

    /// Passes the invites that are open for the user, oldest first, to `read`, which runs under the lock of
    /// the user's stripe.
    pub fn read_invites<T>(&self, user: &UserId, read: impl FnOnce(&[OpenInvite]) -> T) -> T {
        read(self.lock(user).get(user).map_or(&[], |entry| entry.invites.open()))
    }

    /// Returns the invites that are open for the user, oldest first.
    #[cfg(test)]
    pub fn invites(&self, user: &UserId) -> Vec<OpenInvite> {
        self.read_invites(user, <[_]>::to_vec)
    }
}

impl Entry {
    /// Removes an invite that is open here, and counts it for a while if the user was notified of it.
    fn withdraw(&mut self, now: Timestamp, invite: InviteId) -> Option<OpenInvite> {
        let ended = self.invites.end(invite)?;
        if self.live.is_some() {
            let (owner, until) = (ended.owner.clone(), now + WITHDRAWN_COUNTS);
            self.invites.withdrawn.push(Withdrawn { owner, until });
        }
        Some(ended)
    }
}

impl Blank for Invites {
    const BLANK: &'static Self =
        &Self { reserved: 0, open: Vec::new(), withdrawn: Vec::new(), ended_early: Vec::new() };
}

impl Invites {
    /// Returns the open invites, oldest first.
    pub(super) fn open(&self) -> &[OpenInvite] {
        &self.open
    }

    /// Forgets the withdrawn invites of a user who is gone: later ones no longer add to what the user
    /// received.
    pub(super) fn forget_withdrawn(&mut self) {
        self.withdrawn.clear();
    }

    /// Removes an invite that is open here. One that is not open may be about to be committed.
    fn end(&mut self, invite: InviteId) -> Option<OpenInvite> {
        if let Some(at) = self.open.iter().position(|open| open.id == invite) {
            return Some(self.open.remove(at));
        }
        if self.reserved > 0 {
            self.ended_early.push(invite);
        }
        None
    }

    /// Ends a reservation: its invite is open now, or never will be.
    fn end_reservation(&mut self) {
        debug_assert!(self.reserved > 0, "more reservations end than were made");
        self.reserved = self.reserved.saturating_sub(1);
        if self.reserved == 0 {
            self.ended_early.clear();
        }
    }

    /// Returns true if it holds nothing.
    pub(super) fn is_vacant(&self) -> bool {
        self.reserved == 0 && self.open.is_empty() && self.withdrawn.is_empty()
    }
}
