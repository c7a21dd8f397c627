//! Invites of a session: issue, revoke, decline, expire.

use std::time::Duration;

use super::invites::{InviteState, Terms};
use super::joining::Entry;
use super::state::{Postage, Session, Turn};
use super::{Change, EndedInvite, Expired, Inviting, NewInvite, RoomFrom};
#[cfg(test)]
use crate::base::Timestamp;
use crate::base::{MemberId, UserId};
use crate::wire::command::Invite;
use crate::wire::{ErrorCode, Reason, UserEvent};

impl Session {
    /// Carries out [`SessionTable::invite`](super::SessionTable::invite).
    pub(super) fn invite(
        &mut self,
        by: MemberId,
        invite: &Invite,
        users: &[UserId],
        turn: &Turn<'_>,
    ) -> Result<Inviting, ErrorCode> {
        self.check_owner(by)?;
        let expires = turn.now + Duration::from_secs(u64::from(invite.ttl.get()));
        let terms = Terms { expires, hold_seat: invite.hold_seat };
        Ok(Inviting {
            session: self.id,
            kind: self.settings.kind,
            owner: self.owner_user.clone(),
            expires,
            note: invite.note.clone(),
            users: users.iter().map(|user| self.invite_one(user, terms, turn)).collect(),
        })
    }

    fn invite_one(&mut self, user: &UserId, terms: Terms, turn: &Turn<'_>) -> Result<NewInvite, ErrorCode> {
        if self.members.id_of(user).is_some() {
            return Err(ErrorCode::AlreadyMember);
        }
        let replaced = self.invites.open_of(user, turn.now);
        let replaced_id = replaced.map(|replaced| self.invite_id(replaced));
        // spec: INV-9
        if terms.hold_seat && !self.has_seat(Entry { invite: replaced_id, older: None }, turn.now) {
            return Err(ErrorCode::SessionFull);
        }
        let number = self.invites.add(user, replaced, terms, turn.limits)?;
        Ok(NewInvite { invite: self.invite_id(number), replaced: replaced_id })
    }

    /// Carries out [`SessionTable::revoke`](super::SessionTable::revoke).
    pub(super) fn revoke_by(
        &mut self,
        by: MemberId,
        number: u32,
        turn: &Turn<'_>,
    ) -> Result<EndedInvite, ErrorCode> {
        self.check_owner(by)?;
        self.invites.open_at(number, turn.now)?;
        self.revoke(number, turn).ok_or(ErrorCode::NoSuchInvite)
    }

    /// Revokes an open invite.
    pub(super) fn revoke(&mut self, number: u32, turn: &Turn<'_>) -> Option<EndedInvite> {
        let user = self.invites.end(number, InviteState::Revoked, turn.limits)?;
        Some(EndedInvite { invite: self.invite_id(number), user })
    }

    /// Carries out [`SessionTable::decline`](super::SessionTable::decline).
    pub(super) fn decline(
        &mut self,
        user: &UserId,
        number: u32,
        reason: Reason,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        self.phase.check(turn.now)?;
        self.invites.admitting(number, user, turn.now)?;
        let invite = self.invite_id(number);
        if let Some(owner) = self.members.get(self.owner) {
            let postage = self.reserve_for(1, &[owner.at.worker], turn)?;
            let event = UserEvent::InviteDeclined { invite, user: user.clone(), reason };
            self.tell_owner(event, postage, turn);
        }
        self.invites.end(number, InviteState::Declined, turn.limits);
        Ok(())
    }

    /// Returns when an open invite of `user` ends.
    #[cfg(test)]
    pub(super) fn admits_until(
        &self,
        user: &UserId,
        number: u32,
        now: Timestamp,
    ) -> Result<Timestamp, ErrorCode> {
        Ok(self.invites.admitting(number, user, now)?.expires)
    }

    /// Expires and forgets the invites that are due, at most `left` of them, and ends the session if its idle
    /// time is over. Counts `left` down.
    pub(super) fn expire(&mut self, turn: &mut Turn<'_>, left: &mut usize) -> Vec<Expired> {
        let mut expired = Vec::new();
        for (number, user) in self.invites.expire(turn.now, turn.limits, left) {
            let invite = self.invite_id(number);
            let event = UserEvent::InviteExpired { invite, user: Some(user.clone()) };
            self.tell_owner(event, Postage { from: RoomFrom::Headroom, deliveries: 1 }, turn);
            expired.push(Expired::Invite(EndedInvite { invite, user }));
        }
        if let Some(departed) = self.end_if_idle(turn) {
            let ended = Expired::Session(self.id, departed);
            *left = left.saturating_sub(ended.ends());
            expired.push(ended);
        }
        expired
    }

    /// Sends an event to the owner alone, if one is present.
    fn tell_owner(&self, event: UserEvent, postage: Postage, turn: &mut Turn<'_>) {
        if let Some(owner) = self.members.get(self.owner) {
            let change = Change::ToMember { member: owner.id, event };
            self.post(&[owner.at.worker], change, postage, turn);
        }
    }
}
