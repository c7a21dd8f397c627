//! Results: each is true of the session as its client knows it at that moment.
//!
//! A result comes after the events of everything that its session had carried out by then (SES-19), and in a
//! simulation commands are carried out one at a time. The client's knowledge when it receives the result is
//! therefore what the server knew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::answers::Asked;
use super::book::InviteBook;
use super::lives::Lives;
use super::properties::Properties;
use super::{Issues, Life, Living, Seat};
use crate::base::{MemberId, SessionId, Slot, Timestamp, UserId};
use crate::client::core::{Event, Mirror, RequestError};
use crate::wire::command::Join;
use crate::wire::{Admission, ErrorCode, Request, Value};

/// The clients' views of their sessions, built from the events that they received.
#[derive(Default)]
pub(super) struct Truths {
    mirrors: BTreeMap<(Life, Slot), Arc<Mirror>>,
    admission: BTreeMap<SessionId, Admission>,
    /// Sessions that a client was told do not exist, and when it was first.
    gone: BTreeMap<(SessionId, Life), Timestamp>,
    /// Lives that were told that they are members already.
    already: BTreeSet<(Life, SessionId)>,
}

impl Truths {
    pub(super) fn event(&mut self, life: Life, event: &Event, is_full: bool, issues: &mut Issues) {
        let Some(slot) = event.slot() else { return };
        if let Event::Refused { code, .. } = event {
            let is_true = match code {
                // A recipient may have left.
                ErrorCode::NoSuchMember => true,
                code => is_of_limits(*code) && is_full,
            };
            if !is_true {
                issues.add(format_args!("{life:?} was refused a message: {code}"));
            }
        }
        if let Event::Entered { mirror, session, .. } = event {
            self.admission.insert(*session, mirror.settings().admission);
            self.mirrors.insert((life, slot), Arc::clone(mirror));
        } else if let Some(mirror) = self.mirrors.get_mut(&(life, slot))
            && let Err(error) = Arc::make_mut(mirror).apply(event)
        {
            issues.add(format_args!("{life:?} cannot follow {event:?}: {error}"));
        }
        if event.ends_membership() {
            self.mirrors.remove(&(life, slot));
        }
    }

    /// Returns a client's view of a session before a change of its properties.
    pub(super) fn before(&self, life: Life, event: &Event) -> Option<Arc<Mirror>> {
        let Event::PropertiesChanged { slot, .. } = event else { return None };
        self.mirrors.get(&(life, *slot)).map(Arc::clone)
    }

    /// Returns a client's view of the session at a slot.
    pub(super) fn mirror(&self, life: Life, slot: Slot) -> Option<&Mirror> {
        self.mirrors.get(&(life, slot)).map(Arc::as_ref)
    }

    /// Returns a client's views of the sessions that it is in.
    pub(super) fn mirrors(&self, life: Life) -> impl Iterator<Item = &Mirror> {
        let of_life = (life, Slot(0))..=(life, Slot(u32::MAX));
        self.mirrors.range(of_life).map(|(_, mirror)| mirror.as_ref())
    }

    pub(super) fn end_life(&mut self, life: Life) {
        self.mirrors.retain(|(of, _), _| *of != life);
    }

    /// Checks the answer to a command. `is_full`: the server may lack room for anything.
    pub(super) fn answered(
        &mut self,
        life: Life,
        asked: &Asked,
        outcome: &Result<Value, RequestError>,
        is_full: bool,
        issues: &mut Issues,
    ) {
        let refused = refusal(outcome);
        if let Err(RequestError::OutcomeUnknown) = outcome {
            return;
        }
        if let Err(error) = outcome
            && refused.is_none()
        {
            issues.add(format_args!("{life:?} was answered {error} to {asked:?}, which it sent"));
            return;
        }
        let is_true = match (asked.seat, refused) {
            (_, Some(code)) if is_of_limits(code) => is_full,
            (None, refused) => self.is_true_of_all(issues.now, life, &asked.request, refused),
            (Some(seat), refused) => match (self.mirrors.get(&(life, seat.slot)), refused) {
                // The end of the membership has already been reported to the sender.
                (mirror, Some(ErrorCode::NotAMember)) => mirror.is_none(),
                (None, _) => false,
                (Some(mirror), _) => is_true_of(mirror, &asked.request, outcome, is_full),
            },
        };
        if !is_true {
            let mirror = asked.seat.and_then(|seat| self.mirrors.get(&(life, seat.slot)));
            issues.add(format_args!("{life:?} was answered {outcome:?} to {asked:?}, of {mirror:?}"));
        }
    }

    /// Checks the answer to a command that concerns no session that the client is in.
    fn is_true_of_all(
        &mut self,
        now: Timestamp,
        life: Life,
        request: &Request,
        refused: Option<ErrorCode>,
    ) -> bool {
        let Some(code) = refused else { return true };
        let session = match request {
            Request::Join(join) => join.session(),
            Request::Decline(decline) => decline.invite.session,
            Request::Info(session) => *session,
            _ => return false,
        };
        match (request, code) {
            (_, ErrorCode::NoSuchSession) => {
                self.gone.entry((session, life)).or_insert(now);
                true
            }
            (Request::Info(_), code) => code == ErrorCode::NotAMember,
            (Request::Join(Join::Session(_)), ErrorCode::SessionNotOpen) => {
                self.admission.get(&session) != Some(&Admission::Open)
            }
            (Request::Join(_), ErrorCode::AlreadyMember) => {
                self.already.insert((life, session));
                true
            }
            (Request::Join(_), ErrorCode::SessionFull) => true,
            (Request::Join(Join::Invite(_)) | Request::Decline(_), code) => is_of_invites(code),
            _ => false,
        }
    }

    /// Checks that lives told that they are members have entered, and that in sessions reported not to exist
    /// nothing has happened since and nobody is a member.
    pub(super) fn finish(
        &self,
        living: &[Living<'_>],
        lives: &Lives,
        seats: &BTreeMap<Seat, Life>,
        book: &InviteBook,
        issues: &mut Issues,
    ) {
        // A session that would end with the user's older connection is reported as gone in advance (HSK-15).
        let had_older = |session: SessionId, life: Life| {
            let of_session = seats.iter().filter(|(seat, of)| seat.session == session && **of != life);
            of_session.into_iter().any(|(_, of)| lives.user(*of) == lives.user(life))
        };
        let mut gone: BTreeMap<SessionId, Life> = BTreeMap::new();
        for ((session, life), told_at) in self.gone.iter().filter(|((id, life), _)| !had_older(*id, *life)) {
            gone.insert(*session, *life);
            if book.exists_after(*session, *told_at) {
                issues.add(format_args!(
                    "{life:?} was told at {told_at:?} that {session} is gone, but it went on"
                ));
            }
        }
        for (life, _, mirrors) in living {
            for mirror in mirrors {
                if let Some(told) = gone.get(&mirror.session()) {
                    let session = mirror.session();
                    issues.add(format_args!("{life:?} is in {session}, which {told:?} was told to be gone"));
                }
            }
            for (_, session) in self.already.iter().filter(|(told, _)| told == life) {
                if !seats.iter().any(|(seat, of)| seat.session == *session && of == life) {
                    issues.add(format_args!("{life:?} was told to be in {session} but has never entered it"));
                }
            }
        }
    }
}

/// Whether the answer to a command about a session is true of it.
fn is_true_of(
    mirror: &Mirror,
    request: &Request,
    outcome: &Result<Value, RequestError>,
    is_full: bool,
) -> bool {
    let refused = refusal(outcome);
    let is_there = |member: MemberId| mirror.user(member).is_some();
    let of_target = |target: MemberId| match refused {
        Some(ErrorCode::NoSuchMember) => !is_there(target),
        Some(ErrorCode::InvalidTarget) => target == mirror.own(),
        _ => false,
    };
    let for_owner = matches!(
        request,
        Request::Invite(_)
            | Request::Revoke(_)
            | Request::Kick(_)
            | Request::Delete(_)
            | Request::Transfer(_)
    );
    if for_owner && refused == Some(ErrorCode::NotOwner) {
        return !mirror.is_owner();
    }
    match (request, outcome) {
        (Request::Transfer(transfer), Ok(_)) => mirror.owner() == transfer.member && !mirror.is_owner(),
        _ if for_owner && !mirror.is_owner() => false,
        (Request::Kick(kick), Ok(_)) => !is_there(kick.member),
        (Request::Kick(kick), Err(_)) => of_target(kick.member),
        (Request::Transfer(transfer), Err(_)) => of_target(transfer.member),
        (Request::Revoke(_), Err(_)) => refused.is_some_and(is_of_invites),
        (Request::Invite(invite), Ok(Value::Invited(answers))) => {
            let is_member = |user: &UserId| mirror.members().any(|(_, member)| member == user);
            invite.users.as_slice().iter().zip(answers).all(|(user, answer)| match answer {
                Ok(_) => !is_member(user),
                Err(ErrorCode::AlreadyMember) => is_member(user),
                Err(ErrorCode::SessionFull) => invite.hold_seat,
                Err(code) => is_of_limits(*code) && is_full,
            })
        }
        (Request::SetProperties(_), Ok(Value::Revision(revision))) => mirror.revision() == *revision,
        (Request::SetProperties(ops), Err(_)) => {
            Properties::of(mirror).carry_out(mirror.own(), ops.as_slice()).err() == refused
        }
        (Request::Leave | Request::Delete(_) | Request::Revoke(_), Ok(_)) => true,
        _ => false,
    }
}

/// Returns the code with which a command was refused.
fn refusal(outcome: &Result<Value, RequestError>) -> Option<ErrorCode> {
    match outcome {
        Err(RequestError::Refused(code)) => Some(*code),
        _ => None,
    }
}

/// Whether the server refuses with this code for lack of room, budget or time.
fn is_of_limits(code: ErrorCode) -> bool {
    use ErrorCode::{Busy, RateLimited, ServerFull, TooManyInvites, TooManySessions};
    matches!(code, Busy | RateLimited | ServerFull | TooManyInvites | TooManySessions)
}

fn is_of_invites(code: ErrorCode) -> bool {
    use ErrorCode::{InviteDeclined, InviteExpired, InviteRevoked, InviteUsed, NoSuchInvite, NotYourInvite};
    matches!(code, InviteDeclined | InviteExpired | InviteRevoked | InviteUsed | NoSuchInvite | NotYourInvite)
}
