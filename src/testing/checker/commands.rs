//! Commands that make or end invites, and the ends of which their answers tell.

use super::book::Invite;
use super::{Life, Mine};
use crate::base::{InviteId, RequestId, SessionId, Timestamp, UserId};
use crate::client::core::RequestError;
use crate::wire::command::{Decline, Join, Revoke};
use crate::wire::{ErrorCode, Request, Value};

/// A command that may make or end invites.
#[derive(Debug)]
pub(super) struct Command {
    /// `None` for a stranger, whose commands get no answer here, and whose times of sending are not known.
    pub(super) sender: Option<Sender>,
    pub(super) at: Timestamp,
    pub(super) request: Request,
    /// The user of the member that it kicks, if that is known.
    pub(super) kicked: Option<UserId>,
    pub(super) answer: Option<Answer>,
}

/// Who sent a command, and its id there.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    pub(super) life: Life,
    pub(super) user: UserId,
    pub(super) id: RequestId,
}

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) at: Timestamp,
    pub(super) outcome: Result<Value, RequestError>,
}

/// How an invite ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Expired,
    Revoked,
    Used,
    Declined,
}

/// The end of an invite, as somebody was told.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) why: End,
    pub(super) source: Source,
    /// `None` for a stranger's.
    pub(super) life: Option<Life>,
    pub(super) at: Timestamp,
}

/// How somebody was told of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// An event to the invited user.
    Event,
    /// An event to the owner.
    ToOwner,
    /// An event to the user about a newer invite, which ends this one unless it had ended before.
    Newer,
    /// The result of the command that ended it.
    Result,
    /// The refusal of a command.
    Refusal,
}

impl Command {
    pub(super) fn is_refused(&self) -> bool {
        matches!(&self.answer, Some(Answer { outcome: Err(RequestError::Refused(_)), .. }))
    }

    /// Returns true if its client knows whether it was carried out.
    pub(super) fn is_answered(&self) -> bool {
        let outcome = self.answer.as_ref().map(|answer| &answer.outcome);
        outcome.is_some_and(|outcome| *outcome != Err(RequestError::OutcomeUnknown))
    }

    /// Returns true if this life sent it and knows that it was carried out.
    pub(super) fn is_done_by(&self, life: Life) -> bool {
        self.is_done() && self.sender.as_ref().is_some_and(|sender| sender.life == life)
    }

    pub(super) fn is_done(&self) -> bool {
        self.answer.as_ref().is_some_and(|answer| answer.outcome.is_ok())
    }

    /// Returns true if a client of this user sent it, or a stranger.
    pub(super) fn may_be_by(&self, user: &UserId) -> bool {
        self.sender.as_ref().is_none_or(|sender| sender.user == *user)
    }

    /// Returns the number of the invite that it names, in its session.
    pub(super) fn number(&self) -> Option<u32> {
        match &self.request {
            Request::Join(Join::Invite(invite)) | Request::Decline(Decline { invite, .. }) => {
                Some(invite.number)
            }
            Request::Revoke(Revoke { number }) => Some(*number),
            _ => None,
        }
    }

    /// Returns how it ends the invite, if it is carried out while that is open.
    pub(super) fn may_end(&self, invite: &Invite) -> Option<End> {
        let (id, user) = (invite.id, invite.user()?);
        match &self.request {
            Request::Join(Join::Invite(named)) => (*named == id).then_some(End::Used),
            // spec: INV-9
            Request::Join(Join::Session(_)) => {
                let may_hold = invite.made.as_ref().is_none_or(|made| made.terms.hold_seat);
                (may_hold && self.may_be_by(user)).then_some(End::Used)
            }
            Request::Decline(decline) => (decline.invite == id).then_some(End::Declined),
            Request::Revoke(revoke) => (revoke.number == id.number).then_some(End::Revoked),
            // spec: INV-8
            Request::Kick(_) => {
                self.kicked.as_ref().is_none_or(|kicked| kicked == user).then_some(End::Revoked)
            }
            // spec: INV-7
            Request::Invite(newer) => {
                let index = newer.users.as_slice().iter().position(|invited| invited == user)?;
                let is_newer = match self.answer.as_ref().map(|answer| &answer.outcome) {
                    Some(Ok(Value::Invited(answers))) => {
                        matches!(answers.get(index), Some(Ok(number)) if *number > id.number)
                    }
                    _ => true,
                };
                is_newer.then_some(End::Revoked)
            }
            _ => None,
        }
    }

    /// Returns the end of the invite of which its answer tells.
    pub(super) fn told_end(&self, id: InviteId) -> Option<Ended> {
        let Answer { at, outcome } = self.answer.as_ref().filter(|_| self.number() == Some(id.number))?;
        let (why, source) = match (&self.request, outcome) {
            (Request::Join(_), Ok(_)) => (End::Used, Source::Result),
            (Request::Decline(_), Ok(_)) => (End::Declined, Source::Result),
            (Request::Revoke(_), Ok(_)) => (End::Revoked, Source::Result),
            (_, Err(RequestError::Refused(code))) => (End::of(*code)?, Source::Refusal),
            _ => return None,
        };
        Some(Ended { why, source, life: self.sender.as_ref().map(|sender| sender.life), at: *at })
    }
}

impl End {
    /// Returns the end that is the reason of a refusal.
    pub(super) fn of(code: ErrorCode) -> Option<Self> {
        match code {
            ErrorCode::InviteExpired => Some(Self::Expired),
            ErrorCode::InviteRevoked => Some(Self::Revoked),
            ErrorCode::InviteUsed => Some(Self::Used),
            ErrorCode::InviteDeclined => Some(Self::Declined),
            _ => None,
        }
    }
}

/// Returns the session whose invites a command may make or end.
pub(super) fn session(seat: Option<Mine>, request: &Request) -> Option<SessionId> {
    match request {
        Request::Join(join) => Some(join.session()),
        Request::Decline(decline) => Some(decline.invite.session),
        Request::Invite(_) | Request::Revoke(_) | Request::Kick(_) => seat.map(|seat| seat.session),
        _ => None,
    }
}
