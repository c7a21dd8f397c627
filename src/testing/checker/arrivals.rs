//! What must have arrived: invites at their users, and their ends at their users and owners.
//!
//! A connection that was not there from the beginning, or not until the end, may have missed anything. So
//! this is checked for connections that the server knew before something happened, and that are connected
//! when everything has settled.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::answers::Asked;
use super::intents::{Effect, Intents};
use super::lives::Lives;
use super::{Issues, Life, Living, Mine};
use crate::base::{InviteId, SessionId, Timestamp, UserId};
use crate::client::core::{Event, RequestError};
use crate::wire::command::{Decline, Invite, Join};
use crate::wire::{Request, Value};

/// Invites, and who was told of them and of their ends.
#[derive(Default)]
pub(super) struct Arrivals {
    made: BTreeMap<InviteId, Made>,
    /// Invites that a client was told of, each with the time at which it is certainly over.
    told: BTreeMap<(Life, InviteId), Timestamp>,
    /// Invites whose end their user was told of: by an event, or by the result of an own command.
    over: BTreeSet<(Life, InviteId)>,
    expired: BTreeSet<InviteId>,
    /// Declined invites, with the time of the command and the user.
    declined: BTreeMap<InviteId, (Timestamp, UserId)>,
    /// Sessions that a client entered without naming an invite: one that held a seat is then used.
    entered: BTreeSet<(Life, SessionId)>,
    /// Ends that a client was told of as the owner.
    told_declined: BTreeSet<(Life, InviteId)>,
    told_expired: BTreeSet<(Life, InviteId)>,
    /// Sessions that a client owns, as it was told, and since when.
    owned: BTreeMap<(Life, SessionId), Timestamp>,
}

/// An invite as its owner knows it.
struct Made {
    user: UserId,
    by: Life,
    asked_at: Timestamp,
}

/// An end may be told this much later than the invite's time is over.
const LATE: Duration = Duration::from_secs(2);

impl Arrivals {
    /// Records an event that is not about a session.
    pub(super) fn event(&mut self, now: Timestamp, life: Life, event: &Event) {
        match event {
            Event::Invited(invitation) => {
                let over_at = now + Duration::from_millis(invitation.ttl_left_ms.into()) + LATE;
                self.told.insert((life, invitation.invite), over_at);
            }
            Event::InviteRevoked { invite } => _ = self.over.insert((life, *invite)),
            Event::InviteExpired { invite, user: None } => {
                self.over.insert((life, *invite));
                self.expired.insert(*invite);
            }
            Event::InviteExpired { invite, user: Some(_) } => _ = self.told_expired.insert((life, *invite)),
            Event::InviteDeclined { invite, .. } => _ = self.told_declined.insert((life, *invite)),
            _ => {}
        }
    }

    /// Records an event of a session.
    pub(super) fn session_event(&mut self, now: Timestamp, life: Life, seat: Mine, event: &Event) {
        let key = (life, seat.session);
        match event {
            Event::Entered { mirror, .. } if mirror.is_owner() => _ = self.owned.insert(key, now),
            Event::OwnerChanged { owner, .. } if *owner == seat.member => _ = self.owned.insert(key, now),
            Event::OwnerChanged { .. } => _ = self.owned.remove(&key),
            event if event.ends_membership() => _ = self.owned.remove(&key),
            _ => {}
        }
    }

    /// Records the result of a command.
    pub(super) fn answered(
        &mut self,
        life: Life,
        user: &UserId,
        asked: &Asked,
        outcome: &Result<Value, RequestError>,
        issues: &mut Issues,
    ) {
        let Ok(value) = outcome else { return };
        match (&asked.request, value, asked.seat) {
            (Request::Invite(invite), Value::Invited(answers), Some(Mine { session, .. })) => {
                self.made(life, session, asked.at, invite, answers);
            }
            (Request::Join(Join::Invite(invite)), ..) => {
                // Both are sent on one stream, the notification first.
                if !self.told.contains_key(&(life, *invite)) {
                    issues.add(format_args!("{life:?} entered by {invite}, which it was not told of"));
                }
                self.over.insert((life, *invite));
            }
            (Request::Join(Join::Session(session)), ..) => _ = self.entered.insert((life, *session)),
            (Request::Decline(Decline { invite, .. }), ..) => {
                self.over.insert((life, *invite));
                self.declined.insert(*invite, (asked.at, user.clone()));
            }
            _ => {}
        }
    }

    fn made(
        &mut self,
        by: Life,
        session: SessionId,
        asked_at: Timestamp,
        invite: &Invite,
        answers: &[Result<u32, crate::wire::ErrorCode>],
    ) {
        for (user, answer) in invite.users.as_slice().iter().zip(answers) {
            if let Ok(number) = *answer {
                let made = Made { user: user.clone(), by, asked_at };
                self.made.insert(InviteId { session, number }, made);
            }
        }
    }

    /// Checks that nothing is missing at the clients that are connected at the end, and that nothing was told
    /// that nobody asked for.
    pub(super) fn finish(
        &self,
        now: Timestamp,
        living: &[Living<'_>],
        lives: &Lives,
        intents: &Intents,
        issues: &mut Issues,
    ) {
        for (life, user, _) in living {
            self.check_invites(*life, user, lives, issues);
            self.check_ends(now, *life, issues);
            self.check_owned(*life, issues);
        }
        for (life, invite) in self.told.keys() {
            if !self.made.contains_key(invite) && !intents.may(Effect::Invites(invite.session)) {
                issues.add(format_args!("{life:?} was told of {invite}, which nobody has made"));
            }
        }
        for (life, invite) in &self.told_declined {
            // What users who follow no rule have asked for is unknown.
            let is_known = self.made.get(invite).is_some_and(|made| lives.is_checked_user(&made.user));
            if is_known && !intents.may(Effect::Declines(*invite)) {
                issues.add(format_args!("{life:?} was told that {invite} was declined, which it was not"));
            }
        }
    }

    /// Checks that a user was told of each invite that was made while they were connected.
    // spec: INV-6
    fn check_invites(&self, life: Life, user: &UserId, lives: &Lives, issues: &mut Issues) {
        for (invite, made) in self.made.iter().filter(|(_, made)| made.user == *user) {
            if lives.was_known(life, made.asked_at) && !self.told.contains_key(&(life, *invite)) {
                issues.add(format_args!("{life:?} of {user} was never told of invite {invite}"));
            }
        }
    }

    /// Checks that a user was told of the end of each invite that has ended without them.
    // spec: EVT-11, INV-3
    fn check_ends(&self, now: Timestamp, life: Life, issues: &mut Issues) {
        let least = InviteId { session: SessionId(0), number: 0 };
        let of_life = self.told.range((life, least)..).take_while(|((of, _), _)| *of == life);
        for ((_, invite), over_at) in of_life {
            // A newer invite of the session ends it, and only that one is notified.
            let newer = (life, InviteId { number: invite.number.saturating_add(1), ..*invite });
            let last = (life, InviteId { number: u32::MAX, ..*invite });
            let is_over = self.over.contains(&(life, *invite))
                || self.entered.contains(&(life, invite.session))
                || self.told.range(newer..=last).next().is_some();
            if !is_over && *over_at < now {
                issues.add(format_args!("{life:?} was never told of the end of invite {invite}"));
            }
        }
    }

    /// Checks that an owner was told of each of their invites that was declined or expired.
    // spec: CMD-13
    fn check_owned(&self, life: Life, issues: &mut Issues) {
        for ((_, session), since) in self.owned.iter().filter(|((of, _), _)| *of == life) {
            let of_session = |invite: &InviteId| invite.session == *session;
            for (invite, (at, user)) in self.declined.iter().filter(|(invite, _)| of_session(invite)) {
                if since < at && !self.told_declined.contains(&(life, *invite)) {
                    issues.add(format_args!("{life:?} was never told that {user} declined {invite}"));
                }
            }
            for invite in self.expired.iter().filter(|invite| of_session(invite)) {
                let is_own =
                    self.made.get(invite).is_some_and(|made| made.by == life && *since < made.asked_at);
                if is_own && !self.told_expired.contains(&(life, *invite)) {
                    issues.add(format_args!("{life:?} was never told that its invite {invite} has expired"));
                }
            }
        }
    }
}
