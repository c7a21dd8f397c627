//! The invites of users: which are open, and how many may come and go.

use std::time::Duration;

use super::{Directory, Entry, LimitReached};
use crate::base::{Blank, ConnectionId, InviteId, SessionId, SessionKind, Timestamp, UserId};
use crate::wire::Note;
use crate::wire::event::Invitation;

/// An invite that can still be used, as its user is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenInvite {
    /// Names the invite and its session.
    pub id: InviteId,
    /// The app's class of the session.
    pub kind: SessionKind,
    /// Who has invited.
    pub owner: UserId,
    /// From then on it admits no one.
    pub expires: Timestamp,
    /// The owner's word.
    pub note: Note,
}

impl OpenInvite {
    /// The invite as its user is told of it at `now`.
    pub fn invitation(&self, now: Timestamp) -> Invitation {
        let left = self.expires.since(now).as_millis();
        Invitation {
            invite: self.id,
            kind: self.kind,
            owner: self.owner.clone(),
            ttl_left_ms: u32::try_from(left).unwrap_or(u32::MAX),
            note: self.note.clone(),
        }
    }
}

/// A user's invites.
#[derive(Default)]
pub(super) struct Invites {
    /// Promised to commands that are between their reservation and their commit.
    promised: usize,
    open: Vec<OpenInvite>,
    /// Those of which the connected user was told and that others than the user have ended lately: as many as may
    /// be open, and a few of each further inviter.
    withdrawn: Vec<Withdrawn>,
    /// Those that ended before they were committed. Kept only while some are promised.
    ended_early: Vec<InviteId>,
}

/// An invite by `owner` that counts as one until then, although it is over.
struct Withdrawn {
    owner: UserId,
    until: Timestamp,
}

/// How long an invite counts that its user did not end: that bounds an inviter who invites and revokes, over and over.
pub(super) const WITHDRAWN_COUNTS: Duration = Duration::from_secs(10);
/// Most of them of one inviter, or as many as may be open, if that is more.
const WITHDRAWN_BY_ONE: usize = 4;

impl Directory {
    /// Takes one of the invites that may be open for the user, for one of `session` by its owner `by`: an open one
    /// of that session will give its place up.
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
        // Nobody shuts out all others.
        let share = limit.div_ceil(4);
        let replaces_own = self.change(user, |entry| {
            let invites = &mut *entry.invites;
            invites.withdrawn.retain(|withdrawn| withdrawn.until > now);
            let by_one = invites.open.iter().filter(|invite| invite.owner == *by).count();
            let withdrawn = invites.withdrawn.iter().filter(|withdrawn| withdrawn.owner == *by).count();
            // However many others have withdrawn, everybody may have one.
            let is_one_more = invites.withdrawn.len() >= limit && withdrawn > 0;
            if is_one_more || withdrawn >= share.max(WITHDRAWN_BY_ONE) {
                return Err(LimitReached { limit });
            }
            let replaced = invites.open.iter().find(|invite| invite.id.session == session);
            let replaces = usize::from(replaced.is_some());
            let replaces_own = usize::from(replaced.is_some_and(|replaced| replaced.owner == *by));
            let counted = invites.open.len() + invites.promised;
            if counted >= limit + replaces || by_one >= share + replaces_own {
                return Err(LimitReached { limit });
            }
            invites.promised += 1;
            Ok(replaces_own)
        })?;
        let limit = self.limits.invites_by_user;
        let counted = self.change(by, |entry| {
            if entry.invited >= limit + replaces_own {
                return Err(LimitReached { limit });
            }
            entry.invited += 1;
            Ok(())
        });
        if counted.is_err() {
            self.change(user, |entry| entry.invites.settle_promise());
        }
        counted
    }

    /// One invite by this user is no longer open.
    fn uninvite(&self, by: &UserId) {
        self.change(by, |entry| {
            debug_assert!(entry.invited > 0, "more invites ended than were reserved");
            entry.invited = entry.invited.saturating_sub(1);
        });
    }

    /// Turns a reserved invite into an open one, in place of `replaced`, and tells the user, if
    /// connected.
    ///
    /// An invite that ended in the meantime is neither kept nor told.
    pub fn commit_invite(
        &self,
        now: Timestamp,
        user: &UserId,
        invite: OpenInvite,
        replaced: Option<InviteId>,
        tell: impl FnOnce(ConnectionId, &OpenInvite),
    ) {
        let over = self.change(user, |entry| {
            let replaced = replaced.and_then(|replaced| entry.withdraw(now, replaced));
            let ended = entry.invites.ended_early.contains(&invite.id);
            entry.invites.settle_promise();
            if ended {
                return [replaced, Some(invite)];
            }
            if let Some(live) = entry.live {
                tell(live, &invite);
            }
            entry.invites.open.push(invite);
            [replaced, None]
        });
        over.iter().flatten().for_each(|over| self.uninvite(&over.owner));
    }

    /// Gives back what [`Directory::reserve_invite`] took for an invite of the user `by` another.
    pub fn cancel_invite(&self, user: &UserId, by: &UserId) {
        self.change(user, |entry| entry.invites.settle_promise());
        self.uninvite(by);
    }

    /// Removes an invite that others than its user have ended, or time.
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
            self.uninvite(&ended.owner);
        }
    }

    /// The invites that are open for the user, oldest first.
    pub fn invites(&self, user: &UserId) -> Vec<OpenInvite> {
        self.lock(user).get(user).map(|entry| entry.invites.open.clone()).unwrap_or_default()
    }
}

impl Entry {
    /// Removes an invite that is open here, and counts it for a while if the user was told of it.
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
        &Self { promised: 0, open: Vec::new(), withdrawn: Vec::new(), ended_early: Vec::new() };
}

impl Invites {
    /// Those that are open, oldest first.
    pub(super) fn open(&self) -> &[OpenInvite] {
        &self.open
    }

    /// The user is gone: none that comes later adds to what it was told.
    pub(super) fn forget_withdrawn(&mut self) {
        self.withdrawn.clear();
    }

    /// Removes an invite that is open here. One that is not may be about to be committed.
    fn end(&mut self, invite: InviteId) -> Option<OpenInvite> {
        if let Some(at) = self.open.iter().position(|open| open.id == invite) {
            return Some(self.open.remove(at));
        }
        if self.promised > 0 {
            self.ended_early.push(invite);
        }
        None
    }

    /// What was promised is open, or will not be.
    fn settle_promise(&mut self) {
        debug_assert!(self.promised > 0, "an invite was settled that nobody reserved");
        self.promised = self.promised.saturating_sub(1);
        if self.promised == 0 {
            self.ended_early.clear();
        }
    }

    /// True when nothing is known.
    pub(super) fn is_vacant(&self) -> bool {
        self.promised == 0 && self.open.is_empty() && self.withdrawn.is_empty()
    }
}
