//! [`InviteBook`]: every invite of a run from its making to its end, as the clients know it.
//!
//! A command is carried out at some time between its sending and its answer, and an event is sent some time
//! before it arrives. The book keeps both ends of such spans, so that who asks can tell what is certain from
//! what is possible. A command without an answer may have been carried out at any time after it was sent.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::answers::Asked;
use super::commands::{Answer, Command, End, Ended, Sender, Source, session};
use super::lives::Lives;
use super::{Life, Mine};
use crate::base::{InviteId, SessionId, Timestamp, UserId};
use crate::client::core::{Event, RequestError};
use crate::wire::command;
use crate::wire::event::Invitation;
use crate::wire::{Reason, Request, Settings, Value};

/// Everything that clients know of invites.
#[derive(Default)]
pub(super) struct InviteBook {
    invites: BTreeMap<InviteId, Invite>,
    /// The commands that may make or end invites of each session, in the order of their sending.
    commands: BTreeMap<SessionId, Vec<Command>>,
    settings: BTreeMap<SessionId, Settings>,
    /// A time at which each session still existed.
    existed_at: BTreeMap<SessionId, Timestamp>,
}

/// What is known of an invite.
#[derive(Debug)]
pub(super) struct Invite {
    pub(super) id: InviteId,
    pub(super) made: Option<Made>,
    /// Its notifications to its user.
    pub(super) told: Vec<Told>,
    /// The same, of the lists that its user was sent.
    pub(super) listed: Vec<Told>,
    /// Notifications of its end to its user.
    ended: Vec<Ended>,
    /// Notifications of its end to owners.
    pub(super) to_owners: Vec<ToOwner>,
}

/// The making of an invite, as its inviter was told.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) user: UserId,
    pub(super) life: Life,
    pub(super) by: UserId,
    pub(super) asked_at: Timestamp,
    answered_at: Timestamp,
    pub(super) terms: command::Invite,
}

/// An invitation that a client received, sent between `since` and `at`.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) life: Life,
    pub(super) user: UserId,
    since: Timestamp,
    pub(super) at: Timestamp,
    pub(super) invitation: Invitation,
}

/// An owner's notification: by whom and why an invite was declined, or, without a reason, that it expired.
#[derive(Debug)]
pub(super) struct ToOwner {
    pub(super) life: Life,
    pub(super) at: Timestamp,
    pub(super) user: UserId,
    pub(super) reason: Option<Reason>,
}

/// The earliest and the latest time at which something may have happened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) earliest: Timestamp,
    pub(super) latest: Timestamp,
}

/// A worker's clock may be behind by this much, so an invite may end this much earlier, or admit for this
/// much longer.
pub(super) const CLOCKS_DIFFER: Duration = Duration::from_millis(10);
/// An invitation's `ttl left` is rounded down to this.
const TTL_STEP: Duration = Duration::from_millis(1);

impl InviteBook {
    /// Records a command; `kicked` is the user of the member that it kicks.
    pub(super) fn asked(
        &mut self,
        at: Timestamp,
        sender: Sender,
        seat: Option<Mine>,
        request: &Request,
        kicked: Option<UserId>,
    ) {
        let (sender, request) = (Some(sender), request.clone());
        self.add(seat, Command { sender, at, request, kicked, answer: None });
    }

    /// Records the command of a user who follows no rule.
    pub(super) fn strange(&mut self, seat: Mine, request: &Request) {
        let (at, request) = (Timestamp::ZERO, request.clone());
        self.add(Some(seat), Command { sender: None, at, request, kicked: None, answer: None });
    }

    fn add(&mut self, seat: Option<Mine>, command: Command) {
        if let Some(session) = session(seat, &command.request) {
            self.commands.entry(session).or_default().push(command);
        }
    }

    /// Records the answer to a command.
    pub(super) fn answered(
        &mut self,
        now: Timestamp,
        sender: &Sender,
        asked: &Asked,
        outcome: &Result<Value, RequestError>,
    ) {
        let existing = match outcome {
            Ok(Value::Entered(entered)) => Some(entered.session),
            Ok(_) => asked.seat.map(|seat| seat.session),
            Err(_) => None,
        };
        if let Some(session) = existing {
            let at = self.existed_at.entry(session).or_default();
            *at = (*at).max(asked.at);
        }
        if let Ok(Value::Invites(listed)) = outcome {
            for invitation in listed {
                let told = Told::new(sender.life, &sender.user, asked.at..now, invitation);
                self.invite_mut(invitation.invite).listed.push(told);
            }
        }
        let Some(session) = session(asked.seat, &asked.request) else { return };
        if let (Request::Invite(terms), Ok(Value::Invited(answers))) = (&asked.request, outcome) {
            for (invited, number) in terms.users.as_slice().iter().zip(answers) {
                let Ok(number) = *number else { continue };
                let made = Made {
                    user: invited.clone(),
                    life: sender.life,
                    by: sender.user.clone(),
                    asked_at: asked.at,
                    answered_at: now,
                    terms: terms.clone(),
                };
                self.invite_mut(InviteId { session, number }).made = Some(made);
            }
        }
        let is_answered = |command: &&mut Command| {
            command.sender.as_ref().is_some_and(|it| (it.life, it.id) == (sender.life, sender.id))
        };
        let commands = self.commands.get_mut(&session).into_iter().flatten();
        if let Some(command) = commands.rev().find(is_answered) {
            command.answer = Some(Answer { at: now, outcome: outcome.clone() });
        }
    }

    /// Records an event.
    pub(super) fn event(&mut self, now: Timestamp, life: Life, lives: &Lives, event: &Event) {
        let Some(user) = lives.user(life) else { return };
        let ended = |why, source| Ended { why, source, life: Some(life), at: now };
        match event {
            Event::Invited(invitation) => {
                let told = Told::new(life, user, lives.connected_at(life)..now, invitation);
                // spec: INV-7
                let first = InviteId { number: 0, ..invitation.invite };
                let earlier = self.invites.range_mut(first..invitation.invite);
                for (_, earlier) in earlier.filter(|(_, earlier)| earlier.user() == Some(user)) {
                    earlier.ended.push(ended(End::Revoked, Source::Newer));
                }
                self.invite_mut(invitation.invite).told.push(told);
            }
            Event::InviteRevoked { invite } => {
                self.invite_mut(*invite).ended.push(ended(End::Revoked, Source::Event));
            }
            Event::InviteExpired { invite, user: None } => {
                self.invite_mut(*invite).ended.push(ended(End::Expired, Source::Event));
            }
            Event::InviteExpired { invite, user: Some(user) } => {
                let told = ToOwner { life, at: now, user: user.clone(), reason: None };
                self.invite_mut(*invite).to_owners.push(told);
            }
            Event::InviteDeclined { invite, user, reason } => {
                let (user, reason) = (user.clone(), Some(reason.clone()));
                self.invite_mut(*invite).to_owners.push(ToOwner { life, at: now, user, reason });
            }
            Event::Entered { session, mirror, .. } => {
                self.settings.insert(*session, *mirror.settings());
            }
            _ => {}
        }
    }

    fn invite_mut(&mut self, id: InviteId) -> &mut Invite {
        self.invites.entry(id).or_insert_with(|| Invite::new(id))
    }

    pub(super) fn invites(&self) -> impl Iterator<Item = &Invite> {
        self.invites.values()
    }

    pub(super) fn invite(&self, invite: InviteId) -> Option<&Invite> {
        self.invites.get(&invite)
    }

    pub(super) fn settings(&self, session: SessionId) -> Option<&Settings> {
        self.settings.get(&session)
    }

    /// Returns all commands that may make or end invites, with their sessions.
    pub(super) fn commands(&self) -> impl Iterator<Item = (SessionId, &Command)> {
        self.commands.iter().flat_map(|(session, all)| all.iter().map(|command| (*session, command)))
    }

    /// Returns the commands about the invites of a session.
    pub(super) fn of_session(&self, session: SessionId) -> impl Iterator<Item = &Command> {
        self.commands.get(&session).into_iter().flatten()
    }

    /// Returns true if the session certainly existed at some time after `at`.
    pub(super) fn exists_after(&self, session: SessionId, at: Timestamp) -> bool {
        self.existed_at.get(&session).is_some_and(|existed_at| *existed_at > at)
    }

    /// Returns how long the session is kept without members.
    pub(super) fn idle_ttl(&self, session: SessionId) -> Option<Duration> {
        self.settings(session).map(|settings| Duration::from_secs(settings.idle_ttl.get().into()))
    }

    /// Returns the time until which the session certainly exists, if nothing but its idle time ends it.
    pub(super) fn lasts_until(&self, session: SessionId) -> Option<Timestamp> {
        self.existed_at.get(&session).zip(self.idle_ttl(session)).map(|(at, ttl)| *at + ttl)
    }

    /// Returns the number of users that were invited to the session so far, at most.
    pub(super) fn invited(&self, session: SessionId) -> usize {
        let users = |command: &Command| match &command.request {
            Request::Invite(invite) => invite.users.as_slice().len(),
            _ => 0,
        };
        self.of_session(session).map(users).sum()
    }

    /// Returns the commands, sent until `until`, that may have ended the invite in this way.
    pub(super) fn causes(
        &self,
        invite: &Invite,
        why: End,
        until: Timestamp,
    ) -> impl Iterator<Item = &Command> {
        self.of_session(invite.id.session)
            .filter(move |it| it.at <= until && !it.is_refused() && it.may_end(invite) == Some(why))
    }

    /// Returns all ends of the invite that somebody was told of.
    pub(super) fn ends(&self, id: InviteId) -> Vec<Ended> {
        let invite = self.invites.get(&id);
        let events = invite.into_iter().flat_map(|invite| &invite.ended).cloned();
        let to_owners = invite.into_iter().flat_map(|invite| &invite.to_owners).map(|told| Ended {
            why: if told.reason.is_some() { End::Declined } else { End::Expired },
            source: Source::ToOwner,
            life: Some(told.life),
            at: told.at,
        });
        let of_answers = self.of_session(id.session).filter_map(|command| command.told_end(id));
        events.chain(to_owners).chain(of_answers).collect()
    }

    /// Returns true if a client was told of the end of an invite: by an event, or by the result of an own
    /// command.
    pub(super) fn is_over_for(&self, life: Life, invite: InviteId) -> bool {
        let is_own =
            |it: &Ended| it.life == Some(life) && matches!(it.source, Source::Event | Source::Result);
        self.ends(invite).iter().any(is_own)
    }
}

impl Invite {
    fn new(id: InviteId) -> Self {
        let (told, listed, ended, to_owners) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { id, made: None, told, listed, ended, to_owners }
    }

    /// Returns whose it is, if that is known.
    pub(super) fn user(&self) -> Option<&UserId> {
        let made = self.made.as_ref().map(|made| &made.user);
        made.or_else(|| self.told.first().map(|told| &told.user))
    }

    pub(super) fn was_told_to(&self, life: Life) -> bool {
        self.told.iter().any(|told| told.life == life)
    }

    /// Returns the time from which somebody knew that it was made, other than by its end.
    pub(super) fn known_from(&self) -> Option<Timestamp> {
        let made = self.made.as_ref().map(|made| made.answered_at);
        made.into_iter().chain(self.told.iter().map(|told| told.at)).min()
    }

    /// Returns when its time is over, as follows from its making and from everything told of it.
    pub(super) fn expires(&self) -> Span {
        let mut span = Span { earliest: Timestamp::ZERO, latest: Timestamp::MAX };
        let mut made_at = Timestamp::ZERO;
        if let Some(made) = &self.made {
            made_at = made.asked_at;
            let ttl = Duration::from_secs(made.terms.ttl.get().into());
            span.narrow(made_at - CLOCKS_DIFFER + ttl, made.answered_at + ttl);
        }
        for told in self.told.iter().chain(&self.listed) {
            let left = Duration::from_millis(told.invitation.ttl_left_ms.into());
            let since = told.since.max(made_at);
            // With nothing left, its time may have been over for long, if nothing has ended it yet.
            let earliest = if left.is_zero() { Timestamp::ZERO } else { since - CLOCKS_DIFFER + left };
            span.narrow(earliest, told.at + left + TTL_STEP);
        }
        span
    }
}

impl Told {
    fn new(life: Life, user: &UserId, sent: Range<Timestamp>, invitation: &Invitation) -> Self {
        let Range { start: since, end: at } = sent;
        Self { life, user: user.clone(), since, at, invitation: invitation.clone() }
    }
}

impl Span {
    fn narrow(&mut self, earliest: Timestamp, latest: Timestamp) {
        self.earliest = self.earliest.max(earliest);
        self.latest = self.latest.min(latest);
    }
}
