//! What must have arrived: invites at their users, and their ends at their users and owners.
//!
//! A connection that was not there from the beginning, or not until the end, may have missed anything. So
//! this is checked for connections that the server knew before something happened, and that are connected
//! when everything has settled.

use std::collections::BTreeMap;
use std::time::Duration;

use super::book::{Invite, InviteBook};
use super::commands::{Command, End, Ended, Source};
use super::lives::Lives;
use super::{Issues, Life, Living, Mine};
use crate::base::{SessionId, Timestamp, UserId};
use crate::client::core::Event;
use crate::wire::Request;
use crate::wire::command::Join;

/// The owners that must be told what becomes of their invites.
#[derive(Default)]
pub(super) struct Arrivals {
    /// Sessions that a client owns, as it was told, and since when.
    owned: BTreeMap<(Life, SessionId), Timestamp>,
    /// When a client was last told that it no longer owns a session.
    lost: BTreeMap<(Life, SessionId), Timestamp>,
}

/// An end may be told this much later than the invite's time is over.
const LATE: Duration = Duration::from_secs(2);

impl Arrivals {
    /// Records an event of a session.
    pub(super) fn session_event(&mut self, now: Timestamp, life: Life, seat: Mine, event: &Event) {
        let key = (life, seat.session);
        match event {
            Event::Entered { mirror, .. } if mirror.is_owner() => _ = self.owned.insert(key, now),
            Event::OwnerChanged { owner, .. } if *owner == seat.member => _ = self.owned.insert(key, now),
            Event::OwnerChanged { .. } => self.lose(now, key),
            event if event.ends_membership() => self.lose(now, key),
            _ => {}
        }
    }

    fn lose(&mut self, now: Timestamp, key: (Life, SessionId)) {
        if self.owned.remove(&key).is_some() {
            self.lost.insert(key, now);
        }
    }

    /// Checks that nothing is missing at the clients that are connected at the end.
    pub(super) fn finish(
        &self,
        now: Timestamp,
        living: &[Living<'_>],
        lives: &Lives,
        book: &InviteBook,
        issues: &mut Issues,
    ) {
        for (life, user, _) in living {
            for invite in book.invites() {
                check_told(*life, user, invite, lives, issues);
                check_end(now, *life, invite, book, issues);
                self.check_owned(*life, invite, book, issues);
                self.check_owns(*life, invite, book, issues);
            }
        }
        for (session, command) in book.commands() {
            check_joined(session, command, book, issues);
        }
    }

    /// Checks that an owner was told that an invite was declined, and that one of theirs has expired.
    // spec: CMD-13
    fn check_owned(&self, life: Life, invite: &Invite, book: &InviteBook, issues: &mut Issues) {
        let id = invite.id;
        let Some(since) = self.owned.get(&(life, id.session)) else { return };
        let mut told = invite.to_owners.iter().filter(|told| told.life == life);
        let declined = book.of_session(id.session).find(|command| {
            matches!(command.request, Request::Decline(_))
                && command.number() == Some(id.number)
                && command.is_done()
        });
        if let Some(command) = declined.filter(|command| *since < command.at)
            && !told.clone().any(|told| told.reason.is_some())
        {
            issues.add(format_args!("{life:?} was never told of the end of invite {id} by {command:?}"));
        }
        let has_expired = book.ends(id).iter().any(|it| (it.why, it.source) == (End::Expired, Source::Event));
        let is_own = invite.made.as_ref().is_some_and(|made| made.life == life && *since < made.asked_at);
        if has_expired && is_own && !told.any(|told| told.reason.is_none()) {
            issues.add(format_args!("{life:?} was never told that its invite {id} has expired"));
        }
    }

    /// Checks that a client that was told how an invite ended may have owned the session then. It is
    /// connected to the end, so it knows of every session that it has owned.
    // spec: CMD-13
    fn check_owns(&self, life: Life, invite: &Invite, book: &InviteBook, issues: &mut Issues) {
        let (id, key) = (invite.id, (life, invite.id.session));
        for told in invite.to_owners.iter().filter(|told| told.life == life) {
            let declines = book.causes(invite, End::Declined, told.at).map(|command| command.at);
            let since = if told.reason.is_some() { declines.min() } else { Some(invite.expires().earliest) };
            let is_owner = self.owned.contains_key(&key) || self.lost.get(&key).copied() >= since;
            if !is_owner {
                issues.add(format_args!(
                    "{life:?} was told how invite {id} ended, but did not own the session"
                ));
            }
        }
    }
}

/// Checks that a user was told of an invite that was made while they were connected.
// spec: INV-6
fn check_told(life: Life, user: &UserId, invite: &Invite, lives: &Lives, issues: &mut Issues) {
    let was_there = |asked_at| lives.was_known(life, asked_at);
    let is_due = invite.made.as_ref().is_some_and(|made| made.user == *user && was_there(made.asked_at));
    if is_due && !invite.was_told_to(life) {
        issues.add(format_args!("{life:?} of {user} was never told of invite {}", invite.id));
    }
}

/// Checks that a user was told of the end of an invite that has ended without them.
// spec: EVT-11, INV-3
fn check_end(now: Timestamp, life: Life, invite: &Invite, book: &InviteBook, issues: &mut Issues) {
    let id = invite.id;
    let is_due = invite.was_told_to(life) && invite.expires().latest + LATE < now;
    // One that held a seat is used by whoever enters without naming it.
    let enters = |command: &Command| {
        matches!(command.request, Request::Join(Join::Session(_))) && command.is_done_by(life)
    };
    // A newer invite of the session ends it, and only that one is notified.
    let is_over = |it: &Ended| {
        it.life == Some(life) && matches!(it.source, Source::Event | Source::Newer | Source::Result)
    };
    if is_due && !book.ends(id).iter().any(is_over) && !book.of_session(id.session).any(enters) {
        issues.add(format_args!("{life:?} was never told of the end of invite {id}"));
    }
}

/// Checks that a client was told of the invite by which it entered: both are sent on one stream, the
/// notification first.
fn check_joined(session: SessionId, command: &Command, book: &InviteBook, issues: &mut Issues) {
    let (Request::Join(Join::Invite(id)), Some(sender)) = (&command.request, &command.sender) else { return };
    let Some(answer) = command.answer.as_ref().filter(|answer| answer.outcome.is_ok()) else { return };
    let mut told = book.invite(*id).into_iter().flat_map(|invite| &invite.told);
    if !told.any(|told| told.life == sender.life && told.at <= answer.at) {
        let life = sender.life;
        issues.add(format_args!("{life:?} entered {session} by {id}, which it was not told of"));
    }
}
