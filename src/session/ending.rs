//! The end of a session: by its owner or the operator, after its idle time, or to make room for another one.

use super::invites::Invites;
use super::phase::Phase;
use super::state::{Session, Turn};
use super::{Change, Departed, Ended, EndedInvite};
use crate::base::{MemberId, Timestamp, UserId};
use crate::wire::{DeleteReason, ErrorCode, Reason};

impl Session {
    /// Carries out [`SessionTable::delete`](super::SessionTable::delete).
    pub(super) fn delete(
        &mut self,
        by: MemberId,
        reason: Reason,
        turn: &mut Turn<'_>,
    ) -> Result<Departed, ErrorCode> {
        self.check_owner(by)?;
        Ok(self.end(DeleteReason::Deleted, reason, turn))
    }

    /// Carries out [`SessionTable::close`](super::SessionTable::close).
    pub(super) fn close(&mut self, reason: Reason, turn: &mut Turn<'_>) -> Departed {
        self.end(DeleteReason::ClosedByOperator, reason, turn)
    }

    /// Ends the session if it is empty and its idle time is over.
    // spec: SES-5
    pub(super) fn end_if_idle(&mut self, turn: &mut Turn<'_>) -> Option<Departed> {
        self.phase.idle_ends().filter(|ends| *ends <= turn.now)?;
        Some(self.end(DeleteReason::Idle, Reason::none(), turn))
    }

    /// Ends the session and revokes its open invites. Those whose own time is over have expired, even if
    /// nothing has ended them yet.
    // spec: EVT-11
    pub(super) fn end(&mut self, why: DeleteReason, reason: Reason, turn: &mut Turn<'_>) -> Departed {
        let number = self.take_number();
        let workers = self.members.workers();
        self.post(&workers, Change::Deleted { number, why, reason }, self.headroom(&workers), turn);
        self.phase.end();
        let invites = std::mem::replace(&mut self.invites, Invites::new()).into_open(turn.now);
        let ended = |(number, user)| EndedInvite { invite: self.invite_id(number), user };
        let [expired, revoked] = invites.map(|them| them.into_iter().map(ended).collect());
        let (members, properties) = (self.members.list().clone(), self.properties.map().clone());
        Departed {
            left: None,
            expired,
            revoked,
            ended: Some(Ended { kind: self.settings.kind, why, members, properties }),
        }
    }

    /// Returns when the empty session ends, and its last owner; `None` if it has members or is claimed.
    pub(super) fn parked(&self) -> Option<(Timestamp, UserId)> {
        match self.phase {
            Phase::Empty(until) => Some((until, self.owner_user.clone())),
            _ => None,
        }
    }
}
