//! [`Checker`]: records all that clients do and receive, checks it against the promises of sessions, and
//! lists what is broken.
//!
//! It knows only what clients know: their requests, the times of these, and what they received. Some promises
//! can be checked at once, others only when the run is over and nothing is in flight ([`Checker::finish`]).

mod answers;
mod arrivals;
mod book;
mod changes;
mod commands;
mod deeds;
mod deliveries;
mod ends;
mod idle;
mod intents;
mod invites;
mod lists;
mod lives;
mod log;
mod membership;
mod presence;
mod properties;
#[cfg(test)]
mod tests;
mod truths;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use self::answers::Answers;
use self::arrivals::Arrivals;
use self::book::InviteBook;
use self::changes::Changes;
use self::commands::Sender;
use self::deeds::Deeds;
use self::deliveries::Deliveries;
pub(super) use self::deliveries::{Audience, Sending};
pub(super) use self::ends::Causes;
use self::ends::Ends;
use self::idle::Idle;
use self::intents::Intents;
use self::lists::Lists;
use self::lives::Lives;
use self::log::Logs;
use self::membership::Memberships;
use self::presence::Presence;
use self::truths::Truths;
use super::issues::Issues;
use crate::base::{MemberId, RequestId, SessionId, Slot, Timestamp, UserId};
use crate::client::core::{Core, Disconnected, Event, Mirror, RequestError};
use crate::wire::{CloseCode, ErrorCode, Reason, Request, Value};

/// One connection of one client, starting with its attempt to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Life(pub(super) u32);

/// One message, the `serial`th of its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Tag {
    pub(super) life: Life,
    pub(super) serial: u32,
}

/// A client that is connected at the end of a run, its user, and its view of each session that it is in.
pub(super) type Living<'a> = (Life, UserId, Vec<&'a Mirror>);

/// A membership of a session; member ids are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Seat {
    session: SessionId,
    member: MemberId,
}

/// Checks a run against the promises.
#[derive(Default)]
pub struct Checker {
    issues: Issues,
    logs: Logs,
    memberships: Memberships,
    presence: Presence,
    deliveries: Deliveries,
    answers: Answers,
    truths: Truths,
    changes: Changes,
    book: InviteBook,
    ends: Ends,
    deeds: Deeds,
    idle: Idle,
    arrivals: Arrivals,
    lists: Lists,
    lives: Lives,
    intents: Intents,
    /// Lives that were told that the outcome of a command is unknown: nothing but their end may follow.
    ending: BTreeSet<Life>,
    told: u64,
    refused: BTreeMap<ErrorCode, u64>,
    replaced: u64,
}

impl Checker {
    /// Returns a checker of a run in which connections may end for `causes`.
    pub(super) fn new(causes: Causes) -> Self {
        Self { ends: Ends::new(causes), ..Self::default() }
    }

    /// Returns the broken promises, in the order in which they were detected.
    pub fn issues(&self) -> &[String] {
        &self.issues.lines
    }

    /// Returns the number of results and events that clients received; a run in which little happens proves
    /// little.
    pub fn told(&self) -> u64 {
        self.told
    }

    /// Returns the number of messages that reached a member.
    pub fn delivered(&self) -> u64 {
        self.deliveries.delivered()
    }

    /// Returns the number of arrivals of messages that may be dropped which were due, because in this run
    /// nothing drops them.
    pub fn due(&self) -> u64 {
        self.deliveries.due()
    }

    /// Returns the number of sessions that were entered.
    pub fn sessions(&self) -> usize {
        self.logs.len()
    }

    /// Returns the number of commands and messages that were refused with each code.
    pub fn refused(&self) -> &BTreeMap<ErrorCode, u64> {
        &self.refused
    }

    /// Returns the number of changes of properties that members were told of.
    pub fn changes(&self) -> u64 {
        self.changes.count()
    }

    /// Returns the number of clients that were told that another one of their user has replaced them.
    pub fn replaced(&self) -> u64 {
        self.replaced
    }

    /// Records that a user begins to connect.
    pub(super) fn born(&mut self, life: Life, user: UserId) {
        self.lives.born(life, user);
    }

    /// Records that the server has answered a client's handshake.
    pub(super) fn connected(&mut self, now: Timestamp, life: Life) {
        self.lives.connected(life, now);
    }

    /// Records a client's crash: its open commands will not be answered.
    pub(super) fn crashed(&mut self, now: Timestamp, life: Life) {
        self.answers.forget(life);
        self.memberships.end_life(life);
        self.truths.end_life(life);
        self.presence.disturbed(now, life);
        self.ends.crashed(life);
        self.deeds.quit(now, life);
    }

    /// Records a client's change of address.
    pub(super) fn moved(&mut self, now: Timestamp, life: Life) {
        self.presence.disturbed(now, life);
        self.ends.moved(life);
    }

    /// Records that the operator kicks a user, connected as `life` if that is known.
    pub(super) fn kicked(&mut self, now: Timestamp, user: &UserId, life: Option<Life>, reason: &Reason) {
        // Until the client has received something, the server may not know it yet.
        let life = life.filter(|life| self.lives.was_known(*life, Timestamp::MAX));
        self.ends.kicked(user, reason);
        if let Some(life) = life {
            self.deeds.kicked(now, life, reason);
        }
    }

    /// Records that the operator closes a session.
    pub(super) fn closed(&mut self, now: Timestamp, session: SessionId, reason: &Reason) {
        self.ends.closed(session, reason);
        self.deeds.closed(now, session, reason);
    }

    /// Records that the operator removes a user, a member of this id, from a session.
    pub(super) fn removed(
        &mut self,
        now: Timestamp,
        session: SessionId,
        member: MemberId,
        user: &UserId,
        reason: &Reason,
    ) {
        self.ends.removed(session, user, reason);
        self.deeds.removed(now, Seat { session, member }, reason);
    }

    /// Records that the server begins to shut down.
    pub(super) fn drains(&mut self, now: Timestamp) {
        self.ends.causes.drain = true;
        self.deeds.drains(now);
    }

    /// Records a client's command.
    pub(super) fn asked(
        &mut self,
        now: Timestamp,
        life: Life,
        id: RequestId,
        seat: Option<Mine>,
        request: &Request,
    ) {
        self.issues.now = now;
        self.answers.asked(life, id, now, seat, request, &mut self.issues);
        self.intents.asked(seat, request);
        self.changes.asked(id, seat, request);
        self.lists.asked(life, id, request, self.truths.mirrors(life), &self.book);
        if let Some(user) = self.lives.user(life) {
            let view = seat.and_then(|seat| self.truths.mirror(life, seat.slot));
            let kicked = match request {
                Request::Kick(kick) => view.and_then(|view| view.user(kick.member)),
                _ => None,
            };
            let sender = Sender { life, user: user.clone(), id };
            self.book.asked(now, sender, seat, request, kicked.cloned());
        }
    }

    /// Records an intruder's command in a session; whether it is carried out is unknown.
    pub(super) fn strange(&mut self, seat: Mine, request: &Request) {
        self.intents.strange(seat, request);
        self.book.strange(seat, request);
    }

    /// Records a message that a client sends.
    pub(super) fn sent(&mut self, sending: Sending) {
        self.deliveries.sent(sending);
    }

    /// Records the result of a command that a client received.
    pub(super) fn result(
        &mut self,
        now: Timestamp,
        life: Life,
        id: RequestId,
        outcome: &Result<Value, RequestError>,
    ) {
        self.issues.now = now;
        self.told += 1;
        match outcome {
            Err(RequestError::OutcomeUnknown) => _ = self.ending.insert(life),
            _ => self.goes_on(now, life, outcome),
        }
        if let Err(RequestError::Refused(code)) = outcome {
            *self.refused.entry(*code).or_default() += 1;
        }
        let Some(asked) = self.answers.answered(life, id, outcome, &mut self.issues) else { return };
        self.intents.answered(asked.seat, &asked.request, outcome);
        self.deeds.answered(life, &asked, outcome, &mut self.issues);
        self.idle.answered(now, life, &asked, outcome);
        self.truths.answered(life, &asked, outcome, self.ends.causes.limits, &mut self.issues);
        self.changes.answered(id, &asked, outcome, &mut self.issues);
        let Some(user) = self.lives.user(life) else { return };
        let sender = Sender { life, user: user.clone(), id };
        self.book.answered(now, &sender, &asked, outcome);
        self.lists.answered(now, &sender, &asked, outcome, &self.book, &mut self.issues);
        if let (Request::Create(create), Ok(Value::Entered(entered))) = (&asked.request, outcome) {
            self.logs.created(*entered, create, &mut self.issues);
        }
        if let Ok(Value::Entered(entered)) = outcome {
            let seat = Seat { session: entered.session, member: entered.member };
            self.memberships.admitted(life, seat, &mut self.issues);
        }
    }

    /// Records an event that a client received; `core` is the client's state after it.
    pub(super) fn event(&mut self, now: Timestamp, life: Life, event: &Event, core: &Core) {
        self.issues.now = now;
        self.told += 1;
        self.book.event(now, life, &self.lives, event);
        if let Event::Disconnected(why) = event {
            self.disconnected(now, life, why);
            return;
        }
        self.goes_on(now, life, event);
        self.lists.event(life, event);
        let before = self.truths.before(life, event);
        self.truths.event(life, event, self.ends.causes.limits, &mut self.issues);
        if let Some(before) = before {
            let after = self.truths.mirror(life, before.slot());
            self.changes.event(before, after, event, self.memberships.seats(), &mut self.issues);
        }
        self.memberships.event(life, event, &mut self.issues);
        if let Some(slot) = event.slot()
            && let Some(seat) = self.memberships.seat(life, slot)
        {
            self.session_event(
                now,
                life,
                Mine { session: seat.session, member: seat.member, slot },
                event,
                core,
            );
        }
        self.memberships.forget_ended(life, event);
    }

    /// Records that a client received something, which it cannot once its connection has ended.
    fn goes_on(&mut self, now: Timestamp, life: Life, told: &impl fmt::Debug) {
        self.lives.heard(life, now);
        if self.ending.contains(&life) {
            self.issues.add(format_args!("{life:?} was told {told:?} after its connection had ended"));
        }
    }

    fn session_event(&mut self, now: Timestamp, life: Life, mine: Mine, event: &Event, core: &Core) {
        let Mine { session, member, slot } = mine;
        if let Event::Refused { code, .. } = event {
            *self.refused.entry(*code).or_default() += 1;
        }
        self.arrivals.session_event(now, life, mine, event);
        self.ends.event(session, event, &mut self.issues);
        self.deeds.event(session, event);
        self.idle.event(now, mine.seat(), event);
        self.logs.event(session, member, event, &mut self.issues);
        self.presence.event(now, life, mine.seat(), event);
        self.deliveries.event(now, life, mine.seat(), event, &mut self.issues);
        // The client's own view may be ahead of the events that it has told.
        let views = [self.truths.mirror(life, slot), core.mirror(slot).map(AsRef::as_ref)];
        views.into_iter().flatten().for_each(|mirror| self.logs.state(mirror, &mut self.issues));
    }

    fn disconnected(&mut self, now: Timestamp, life: Life, why: &Disconnected) {
        if let Disconnected::ByServer { code: CloseCode::Replaced, .. } = why {
            self.replaced += 1;
        }
        self.ends.disconnected(life, &self.lives, why, &mut self.issues);
        self.deeds.disconnected(now, life, why, &mut self.issues);
        self.answers.ended(life, &mut self.issues);
        self.memberships.end_life(life);
        self.truths.end_life(life);
        self.presence.disturbed(now, life);
        self.ending.remove(&life);
    }

    /// Records an issue unless `holds`.
    pub(super) fn expect(&mut self, holds: bool, issue: impl FnOnce() -> String) {
        if !holds {
            self.issues.add(issue());
        }
    }
}

/// A client's own place in a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mine {
    pub(super) session: SessionId,
    pub(super) member: MemberId,
    pub(super) slot: Slot,
}

impl Mine {
    /// Returns the membership.
    fn seat(self) -> Seat {
        Seat { session: self.session, member: self.member }
    }

    /// Returns the seats of the connected clients, each with its life.
    fn of_all(living: &[Living<'_>]) -> BTreeMap<Seat, Life> {
        let seat = |mirror: &Mirror| Seat { session: mirror.session(), member: mirror.own() };
        let of_one = |(life, _, mirrors): &Living<'_>| {
            let life = *life;
            mirrors.iter().map(move |mirror| (seat(mirror), life)).collect::<Vec<_>>()
        };
        living.iter().flat_map(of_one).collect()
    }
}
