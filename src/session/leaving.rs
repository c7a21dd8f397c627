//! How members leave a session, and to whom its ownership passes.

use std::time::Duration;

use super::members::Member;
use super::state::{Postage, Session, Turn};
use super::{Change, Departed, Left};
use crate::base::{MemberId, UserId};
use crate::wire::{DeleteReason, ErrorCode, LeaveReason, OnOwnerLeave, Reason};

impl Session {
    /// Carries out [`SessionTable::leave`](super::SessionTable::leave).
    pub(super) fn leave(
        &mut self,
        member: MemberId,
        why: LeaveReason,
        turn: &mut Turn<'_>,
    ) -> Result<Departed, ErrorCode> {
        self.check_member(member)?;
        Ok(self.remove(member, why, Reason::none(), turn))
    }

    /// Carries out [`SessionTable::kick`](super::SessionTable::kick).
    pub(super) fn kick(
        &mut self,
        by: MemberId,
        target: MemberId,
        reason: Reason,
        turn: &mut Turn<'_>,
    ) -> Result<Departed, ErrorCode> {
        self.check_target(by, target)?;
        Ok(self.expel(target, reason, turn))
    }

    /// Carries out [`SessionTable::expel`](super::SessionTable::expel).
    pub(super) fn expel_user(
        &mut self,
        user: &UserId,
        reason: Reason,
        turn: &mut Turn<'_>,
    ) -> Result<Departed, ErrorCode> {
        let member = self.members.id_of(user).ok_or(ErrorCode::NoSuchMember)?;
        Ok(self.expel(member, reason, turn))
    }

    // spec: INV-8
    fn expel(&mut self, member: MemberId, reason: Reason, turn: &mut Turn<'_>) -> Departed {
        let mut departed = self.remove(member, LeaveReason::Kicked, reason, turn);
        let invite = departed.left.as_ref().and_then(|left| self.invites.open_of(&left.user, turn.now));
        departed.revoked.extend(invite.and_then(|number| self.revoke(number, turn)));
        departed
    }

    /// Carries out [`SessionTable::transfer`](super::SessionTable::transfer).
    pub(super) fn transfer(
        &mut self,
        by: MemberId,
        target: MemberId,
        turn: &mut Turn<'_>,
    ) -> Result<(), ErrorCode> {
        self.check_owner(by)?;
        self.take_budget(by, 0, turn)?;
        self.check_target(by, target)?;
        self.check_number()?;
        let postage = self.reserve(&self.members.workers(), turn)?;
        self.set_owner(target, postage, turn);
        Ok(())
    }

    /// Removes a member, then transfers ownership, ends the session or starts its idle time, as the settings
    /// require.
    // spec: SES-6
    fn remove(
        &mut self,
        member: MemberId,
        why: LeaveReason,
        reason: Reason,
        turn: &mut Turn<'_>,
    ) -> Departed {
        let departed = self.take_out(member, why, reason, turn);
        if self.members.is_empty() {
            self.invites.empty(turn.limits);
        }
        departed
    }

    /// Does the same for a member whose user takes the seat again in the same turn: the session is not empty
    /// in between, and forgets nothing.
    pub(super) fn take_out(
        &mut self,
        member: MemberId,
        why: LeaveReason,
        reason: Reason,
        turn: &mut Turn<'_>,
    ) -> Departed {
        // Before the removal: the leaver's own worker must also get the mail.
        let workers = self.members.workers();
        let number = self.take_number();
        let postage = self.headroom(&workers);
        self.post(&workers, Change::Left { number, member, why, reason }, postage, turn);
        let left = self.members.remove(member).map(|Member { id, user, .. }| Left { member: id, user, why });
        self.budgets().for_each(|budget| budget.forget(member));
        let owner_left = member == self.owner;
        if owner_left && self.settings.on_owner_leave == OnOwnerLeave::Delete {
            return Departed { left, ..self.end(DeleteReason::OwnerLeft, Reason::none(), turn) };
        }
        match self.members.oldest().map(|member| member.id) {
            Some(heir) if owner_left => {
                let postage = self.headroom(&self.members.workers());
                self.set_owner(heir, postage, turn);
            }
            Some(_) => {}
            None => self.phase.empty(turn.now + self.idle_ttl()),
        }
        Departed { left, ..self.end_if_idle(turn).unwrap_or_default() }
    }

    fn set_owner(&mut self, owner: MemberId, postage: Postage, turn: &mut Turn<'_>) {
        if let Some(member) = self.members.get(owner) {
            self.owner = owner;
            self.owner_user = member.user.clone();
        }
        let number = self.take_number();
        self.post(&self.members.workers(), Change::OwnerChanged { number, owner }, postage, turn);
    }

    fn idle_ttl(&self) -> Duration {
        Duration::from_secs(u64::from(self.settings.idle_ttl.get()))
    }

    /// Checks that `by` is the owner and `target` another member.
    fn check_target(&self, by: MemberId, target: MemberId) -> Result<(), ErrorCode> {
        self.check_owner(by)?;
        self.members.get(target).ok_or(ErrorCode::NoSuchMember)?;
        if target == by { Err(ErrorCode::InvalidTarget) } else { Ok(()) }
    }
}
