//! Invites: only invited users enter, once per invite, and not after it has expired.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::answers::Asked;
use super::{Issues, Life, Mine};
use crate::base::{InviteId, SessionId, Timestamp, UserId};
use crate::client::core::{Event, RequestError};
use crate::wire::command::{Decline, Join, Revoke};
use crate::wire::{Admission, ErrorCode, Request, Value};

/// The checker's knowledge of invites.
#[derive(Default)]
pub(super) struct Invites {
    known: BTreeMap<InviteId, Known>,
    /// Deliveries to a life: each invite is delivered once.
    told: BTreeSet<(Life, InviteId)>,
    used: BTreeSet<InviteId>,
    /// Invites that hold a seat, as reported to the inviting members.
    held: BTreeSet<InviteId>,
    admission: BTreeMap<SessionId, Admission>,
}

struct Known {
    user: UserId,
    /// Time from which it admits no more.
    over_at: Timestamp,
    /// When its user or its owner was first told that it is over.
    told_over: Option<Timestamp>,
}

impl Invites {
    pub(super) fn event(
        &mut self,
        now: Timestamp,
        life: Life,
        user: &UserId,
        event: &Event,
        issues: &mut Issues,
    ) {
        match event {
            Event::Invited(invitation) => {
                let invite = invitation.invite;
                if !self.told.insert((life, invite)) {
                    issues.add(format_args!("{life:?} was told of invite {invite} twice"));
                }
                let over_at = now + Duration::from_millis(invitation.ttl_left_ms.into());
                let known = self.known.entry(invite);
                let known = known.or_insert_with(|| Known { user: user.clone(), over_at, told_over: None });
                known.over_at = known.over_at.min(over_at);
                if known.user != *user {
                    issues.add(format_args!("invite {invite} of {} was told to {user}", known.user));
                }
                // spec: INV-7
                let first = InviteId { number: 0, ..invite };
                for (_, earlier) in self.known.range_mut(first..invite).filter(|(_, it)| it.user == *user) {
                    earlier.told_over.get_or_insert(now);
                }
            }
            Event::InviteExpired { invite, user: None } | Event::InviteRevoked { invite } => {
                self.told_over(*invite, now);
            }
            _ => {}
        }
    }

    fn told_over(&mut self, invite: InviteId, now: Timestamp) {
        if let Some(known) = self.known.get_mut(&invite) {
            known.told_over.get_or_insert(now);
        }
    }

    pub(super) fn answered(
        &mut self,
        user: &UserId,
        asked: &Asked,
        outcome: &Result<Value, RequestError>,
        issues: &mut Issues,
    ) {
        match (&asked.request, outcome) {
            (Request::Create(create), Ok(Value::Entered(entered))) => {
                self.admission.insert(entered.session, create.settings.admission);
            }
            (Request::Join(Join::Session(session)), Ok(_))
                if self.admission.get(session) == Some(&Admission::Invited) =>
            {
                issues.add(format_args!("{user} entered {session} without an invite"));
            }
            (Request::Invite(invite), Ok(Value::Invited(answers))) if invite.hold_seat => {
                let Some(Mine { session, .. }) = asked.seat else { return };
                let numbers = answers.iter().flatten();
                self.held.extend(numbers.map(|number| InviteId { session, number: *number }));
            }
            // An invite that has ended is refused with its own error code, so this one must still hold its
            // seat.
            (Request::Join(Join::Invite(invite)), Err(RequestError::Refused(ErrorCode::SessionFull)))
                if self.held.contains(invite) =>
            {
                issues.add(format_args!("{user} found no seat by invite {invite}, which holds one"));
            }
            (
                Request::Join(Join::Invite(invite)) | Request::Decline(Decline { invite, .. }),
                Err(RequestError::Refused(ErrorCode::InviteExpired)),
            )
            | (Request::Decline(Decline { invite, .. }), Ok(_)) => self.told_over(*invite, issues.now),
            (Request::Revoke(Revoke { number }), Ok(_)) => {
                let Some(Mine { session, .. }) = asked.seat else { return };
                self.told_over(InviteId { session, number: *number }, issues.now);
            }
            (Request::Join(Join::Invite(invite)), Ok(_)) => self.used(user, *invite, asked.at, issues),
            (Request::Join(Join::Invite(invite)), Err(RequestError::Refused(ErrorCode::NotYourInvite)))
                if self.known.get(invite).is_some_and(|known| known.user == *user) =>
            {
                issues.add(format_args!("{user} was denied its own invite {invite}"));
            }
            _ => {}
        }
    }

    fn used(&mut self, user: &UserId, invite: InviteId, asked_at: Timestamp, issues: &mut Issues) {
        if !self.used.insert(invite) {
            issues.add(format_args!("invite {invite} admitted twice"));
        }
        let Some(known) = self.known.get(&invite) else {
            issues.add(format_args!("{user} entered by invite {invite}, which nobody was told of"));
            return;
        };
        if known.user != *user {
            issues.add(format_args!("{user} entered by invite {invite}, which is {}'s", known.user));
        }
        if asked_at >= known.over_at {
            issues.add(format_args!("{user} entered by invite {invite} after its time"));
        }
        if known.told_over.is_some_and(|told| told <= asked_at) {
            issues.add(format_args!("{user} entered by invite {invite} after it was told that it is over"));
        }
    }
}
