//! Invites: each says what its inviter sent, admits its user once and while it lasts, and ends for the reason
//! that everybody is told.
//!
//! All of it is judged at the end, when everything that can be known is in the [`InviteBook`].

use std::collections::BTreeSet;
use std::time::Duration;

use super::book::{CLOCKS_DIFFER, Invite, InviteBook, Span, ToOwner, Told};
use super::commands::{Command, End, Ended, Source};
use super::ends::Ends;
use super::intents::Intents;
use super::lives::Lives;
use super::{Issues, Living};
use crate::base::{InviteId, SessionId, Timestamp, UserId};
use crate::client::core::{Mirror, RequestError};
use crate::wire::command;
use crate::wire::event::Invitation;
use crate::wire::{Admission, ErrorCode, Request};

/// A session remembers this many ended invites, with members or without. Spec: INV-2.
const ALWAYS_REMEMBERED: usize = 32;

/// Everything that is known when invites are judged.
pub(super) struct Judge<'a> {
    pub(super) book: &'a InviteBook,
    pub(super) lives: &'a Lives,
    pub(super) intents: &'a Intents,
    pub(super) ends: &'a Ends,
    pub(super) living: &'a [Living<'a>],
}

impl Judge<'_> {
    /// Checks every invite, and every answer that is about one.
    pub(super) fn finish(&self, issues: &mut Issues) {
        for invite in self.book.invites() {
            self.check_told(invite, issues);
            self.check_time(invite, issues);
            self.check_ends(invite, issues);
            self.check_declined(invite, issues);
        }
        for (session, command) in self.book.commands() {
            if let Err(what) = self.check_answer(session, command) {
                issues.add(format_args!("{command:?} was answered, {what}"));
            }
        }
    }

    /// Checks that an invite was told to its user alone, once per connection, as its inviter made it.
    // spec: INV-5, INV-6
    fn check_told(&self, invite: &Invite, issues: &mut Issues) {
        let id = invite.id;
        let mut lives = BTreeSet::new();
        for told in &invite.told {
            if !lives.insert(told.life) {
                issues.add(format_args!("{:?} was told of invite {id} twice", told.life));
            }
        }
        for told in invite.told.iter().chain(&invite.listed) {
            let Told { life, user, invitation, .. } = told;
            if let Some(other) = invite.user().filter(|other| *other != user) {
                issues.add(format_args!("invite {id} of {other} was told to {user}"));
            }
            let kind = self.book.settings(id.session).map(|settings| settings.kind);
            if kind.is_some_and(|kind| kind != invitation.kind) {
                issues.add(format_args!("{life:?} was told {invitation:?}, the kind is {kind:?}"));
            }
            match &invite.made {
                Some(made) if !says(invitation, &made.terms, Some(&made.by)) => {
                    let (by, terms) = (&made.by, &made.terms);
                    issues.add(format_args!("{life:?} was told {invitation:?} of {by}'s {terms:?}"));
                }
                None if !self.may_be_made(id.session, told) => {
                    issues.add(format_args!("{life:?} was told {invitation:?}, which nobody has made"));
                }
                _ => {}
            }
        }
    }

    /// Returns true if somebody may have made an invitation and was not told so.
    fn may_be_made(&self, session: SessionId, told: &Told) -> bool {
        let makes = |command: &Command| {
            let Request::Invite(terms) = &command.request else { return false };
            let by = command.sender.as_ref().map(|sender| &sender.user);
            // A stranger's command is not by a user who follows the rules.
            let may_be_by = by.is_some() || !self.lives.is_checked_user(&told.invitation.owner);
            let invites = terms.users.as_slice().contains(&told.user) && says(&told.invitation, terms, by);
            may_be_by && invites && command.at <= told.at && !command.is_answered()
        };
        self.intents.is_of_strangers(session) || self.book.of_session(session).any(makes)
    }

    /// Checks that all that was told of an invite's time agrees, and that nobody was told too early that it
    /// is over.
    // spec: INV-3
    fn check_time(&self, invite: &Invite, issues: &mut Issues) {
        let id = invite.id;
        let Span { earliest, latest } = invite.expires();
        if earliest > latest {
            issues.add(format_args!(
                "invite {id} lasts until {earliest:?}, but only until {latest:?}: {invite:?}"
            ));
        }
        let expired = |ended: &&Ended| ended.why == End::Expired && ended.at < earliest;
        if let Some(early) = self.book.ends(id).iter().find(expired) {
            issues.add(format_args!("invite {id} has expired before {earliest:?}, as was told: {early:?}"));
        }
    }

    /// Checks that an invite has ended in one way, and that every end that its user was told of has a cause.
    // spec: SES-11, SES-16
    fn check_ends(&self, invite: &Invite, issues: &mut Issues) {
        let id = invite.id;
        let ends = self.book.ends(id);
        let other_of = |one: &Ended| ends.iter().find(|other| contradict(one, other)).cloned();
        if let Some((one, other)) = ends.iter().find_map(|one| Some((one, other_of(one)?))) {
            issues.add(format_args!("invite {id} has ended twice: {one:?}, {other:?}"));
        }
        let joined = ends.iter().filter(|it| it.why == End::Used && it.source == Source::Result).count();
        if joined > 1 {
            issues.add(format_args!("invite {id} admitted twice"));
        }
        let revoked = ends.iter().filter(|it| it.why == End::Revoked && it.source == Source::Event);
        for ended in revoked.filter(|ended| !self.may_be_told_revoked(invite, ended)) {
            issues.add(format_args!("invite {id} was told to be revoked, which it was not: {ended:?}"));
        }
    }

    /// Returns true if an invite may have been reported to its user as revoked: if it was, if its session may
    /// have ended before, or if another connection of the user may have used or declined it.
    // spec: INV-6, EVT-11
    fn may_be_told_revoked(&self, invite: &Invite, ended: &Ended) -> bool {
        let id = invite.id;
        let by_other = |why| {
            let mut causes = self.book.causes(invite, why, ended.at);
            causes.any(|command| command.sender.as_ref().map(|sender| sender.life) != ended.life)
        };
        let is_there = |view: &&Mirror| view.session() == id.session;
        let goes_on = self.book.exists_after(id.session, ended.at)
            || self.living.iter().any(|(_, _, views)| views.iter().any(is_there));
        !goes_on
            || self.may_end(id, Some(invite), End::Revoked, ended.at)
            || by_other(End::Used)
            || by_other(End::Declined)
    }

    /// Returns true if something that happened until `until` may have ended the invite in this way.
    fn may_end(&self, id: InviteId, invite: Option<&Invite>, why: End, until: Timestamp) -> bool {
        let session = id.session;
        let Some((invite, user)) = invite.and_then(|invite| Some((invite, invite.user()?))) else {
            return self.may_have_unknown(session, until);
        };
        let by_others = match why {
            End::Revoked => self.ends.was_removed(session, user),
            // What users who follow no rule have asked for is unknown.
            End::Used | End::Declined => !self.lives.is_checked_user(user),
            End::Expired => invite.expires().earliest <= until,
        };
        by_others
            || self.intents.is_of_strangers(session)
            || self.book.causes(invite, why, until).next().is_some()
    }

    /// Returns true if the session may have an invite that no client was told of.
    fn may_have_unknown(&self, session: SessionId, until: Timestamp) -> bool {
        let may_make = |it: &Command| matches!(it.request, Request::Invite(_)) && !it.is_answered();
        self.intents.is_of_strangers(session)
            || self.book.of_session(session).any(|it| it.at <= until && may_make(it))
    }

    /// Checks that owners were told the right user, and a decline as the user has sent it.
    // spec: CMD-13
    fn check_declined(&self, invite: &Invite, issues: &mut Issues) {
        let id = invite.id;
        for ToOwner { life, at, user, reason } in &invite.to_owners {
            if let Some(other) = invite.user().filter(|other| *other != user) {
                issues.add(format_args!("{life:?} was told that {user} has ended invite {id} of {other}"));
            }
            let Some(reason) = reason.as_ref().filter(|_| self.lives.is_checked_user(user)) else { continue };
            let mut causes = self.book.causes(invite, End::Declined, *at);
            let is_sent =
                |it: &Command| matches!(&it.request, Request::Decline(sent) if sent.reason == *reason);
            if !causes.any(|it| it.may_be_by(user) && is_sent(it)) {
                issues.add(format_args!(
                    "{life:?} was told that {id} was declined, {reason:?}, which it was not"
                ));
            }
        }
    }

    /// Checks that the answer to a command is true of the invite that it names.
    // spec: SES-9
    fn check_answer(&self, session: SessionId, command: &Command) -> Result<(), String> {
        let (Some(sender), Some(answer)) = (&command.sender, &command.answer) else { return Ok(()) };
        let Some(number) = command.number() else {
            let admission = self.book.settings(session).map(|settings| settings.admission);
            let has_joined = matches!(command.request, Request::Join(_)) && answer.outcome.is_ok();
            let needs_invite = has_joined && admission == Some(Admission::Invited);
            return if needs_invite { Err("without an invite".to_owned()) } else { Ok(()) };
        };
        let id = InviteId { session, number };
        let invite = self.book.invite(id);
        let user = invite.and_then(Invite::user);
        let is_revoke = matches!(command.request, Request::Revoke(_));
        let code = match answer.outcome {
            Ok(_) => None,
            Err(RequestError::Refused(code)) => Some(code),
            Err(_) => return Ok(()),
        };
        match code {
            // These reasons apply only if the invite admits.
            None | Some(ErrorCode::SessionFull | ErrorCode::AlreadyMember) => {
                if !is_revoke && user.is_some_and(|user| *user != sender.user) {
                    return Err(format!("by an invite of {user:?}"));
                }
                let holds_seat = invite.and_then(|it| it.made.as_ref()).is_some_and(|it| it.terms.hold_seat);
                if code == Some(ErrorCode::SessionFull) && holds_seat {
                    return Err("by an invite which holds a seat".to_owned());
                }
                self.check_open(id, invite, command)
            }
            Some(ErrorCode::NotYourInvite) if is_revoke || user == Some(&sender.user) => {
                Err("which is its own invite".to_owned())
            }
            // Only a session without members forgets some, if it had many: the runs are short.
            // spec: INV-2
            Some(ErrorCode::NoSuchInvite)
                if self.book.invited(session) <= ALWAYS_REMEMBERED
                    && invite.and_then(Invite::known_from).is_some_and(|from| from <= command.at) =>
            {
                Err("of an invite that was known before".to_owned())
            }
            Some(code) => match End::of(code) {
                Some(End::Expired) | None => Ok(()),
                Some(_) if is_expired(invite, command.at) => Err("but its time was over before".to_owned()),
                Some(why) if !self.may_end(id, invite, why, answer.at) => {
                    Err("for which there is no cause".to_owned())
                }
                Some(_) => Ok(()),
            },
        }
    }

    /// Checks that an invite may have been open after the command was sent.
    fn check_open(&self, id: InviteId, invite: Option<&Invite>, command: &Command) -> Result<(), String> {
        let is_known = invite.is_some_and(|invite| invite.user().is_some());
        let may_be_known =
            || command.answer.as_ref().is_some_and(|it| self.may_have_unknown(id.session, it.at));
        if !is_known && !may_be_known() {
            return Err("by an invite which nobody has made".to_owned());
        }
        if is_expired(invite, command.at) {
            return Err("after its time".to_owned());
        }
        match self.book.ends(id).iter().find(|ended| ended.at <= command.at) {
            Some(ended) => Err(format!("after somebody was told that it is over: {ended:?}")),
            None => Ok(()),
        }
    }
}

/// Whether an invitation says what the inviter `by`, if known, has sent.
fn says(invitation: &Invitation, terms: &command::Invite, by: Option<&UserId>) -> bool {
    let ttl_left = Duration::from_millis(invitation.ttl_left_ms.into());
    by.is_none_or(|by| *by == invitation.owner)
        && terms.note == invitation.note
        // The clock of the session may be ahead of that of the worker that tells.
        && ttl_left <= Duration::from_secs(terms.ttl.get().into()) + CLOCKS_DIFFER
}

/// Whether the invite's time was certainly over at `at`.
fn is_expired(invite: Option<&Invite>, at: Timestamp) -> bool {
    invite.is_some_and(|invite| invite.expires().latest + CLOCKS_DIFFER <= at)
}

/// Whether one invite cannot have both ends.
fn contradict(one: &Ended, other: &Ended) -> bool {
    // A newer invite ends none that has ended before, and at the end of its time every invite is refused as
    // expired.
    let is_certain =
        |it: &Ended| it.source != Source::Newer && (it.why, it.source) != (End::Expired, Source::Refusal);
    // What one connection of a user has used or declined may be reported to another as revoked.
    // spec: INV-6
    let is_other_view = |revoked: &Ended, own: &Ended| {
        (revoked.why, revoked.source) == (End::Revoked, Source::Event)
            && matches!(own.why, End::Used | End::Declined)
            && (own.source != Source::Result || own.life != revoked.life)
    };
    one.why != other.why
        && is_certain(one)
        && is_certain(other)
        && !is_other_view(one, other)
        && !is_other_view(other, one)
}
