//! [`Checker`]: records all that clients do and receive, checks it against the promises of sessions, and
//! lists what is broken.
//!
//! It knows only what clients know: their requests, the times of these, and what they received. Some promises
//! can be checked at once, others only when the run is over and nothing is in flight ([`Checker::finish`]).

mod answers;
mod deliveries;
mod ends;
mod invites;
mod log;
mod membership;
#[cfg(test)]
mod tests;
mod truths;

use std::collections::{BTreeMap, BTreeSet};

use self::answers::Answers;
use self::deliveries::Deliveries;
pub(super) use self::deliveries::{Audience, Sending};
pub(super) use self::ends::Causes;
use self::ends::Ends;
use self::invites::Invites;
use self::log::Logs;
use self::membership::Memberships;
use self::truths::Truths;
use super::issues::Issues;
use crate::base::{MemberId, RequestId, SessionId, Slot, Timestamp, UserId};
use crate::client::core::{Core, Event, Mirror, RequestError};
use crate::wire::{Reason, Request, Value};

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
    deliveries: Deliveries,
    answers: Answers,
    truths: Truths,
    invites: Invites,
    ends: Ends,
    users: BTreeMap<Life, UserId>,
    /// Lives that received something, so the server knew them.
    heard: BTreeSet<Life>,
    told: u64,
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

    /// Returns the number of sessions that were entered.
    pub fn sessions(&self) -> usize {
        self.logs.len()
    }

    /// Records that a user begins to connect.
    pub(super) fn born(&mut self, life: Life, user: UserId) {
        self.users.insert(life, user);
    }

    /// Records a client's crash: its open commands will not be answered.
    pub(super) fn crashed(&mut self, life: Life) {
        self.answers.forget(life);
        self.memberships.end_life(life);
        self.truths.end_life(life);
        self.ends.crashed(life);
    }

    /// Records a client's change of address.
    pub(super) fn moved(&mut self, life: Life) {
        self.ends.moved(life);
    }

    /// Records that the operator kicks a user, connected as `life` if that is known.
    pub(super) fn kicked(&mut self, user: &UserId, life: Option<Life>, reason: &Reason) {
        // Until the client has received something, the server may not know it yet.
        let life = life.filter(|life| self.heard.contains(life));
        self.ends.kicked(user, life, reason);
    }

    /// Records that the operator closes a session.
    pub(super) fn closed(&mut self, session: SessionId, reason: &Reason) {
        self.ends.closed(session, reason);
    }

    /// Records that the operator removes a user from a session.
    pub(super) fn removed(&mut self, session: SessionId, user: &UserId) {
        self.ends.removed(session, user);
    }

    /// Records that the server begins to shut down.
    pub(super) fn drains(&mut self) {
        self.ends.causes.drain = true;
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
        self.ends.asked(seat, request);
        if let Some(seat) = seat {
            self.logs.asked(seat.session, request);
        }
    }

    /// Records an intruder's command in a session; whether it is carried out is unknown.
    pub(super) fn strange(&mut self, seat: Mine, request: &Request) {
        self.ends.asked(Some(seat), request);
        self.logs.asked(seat.session, request);
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
        self.heard.insert(life);
        let Some(asked) = self.answers.answered(life, id, outcome, &mut self.issues) else { return };
        self.truths.answered(life, &asked, outcome, self.ends.causes.limits, &mut self.issues);
        let Some(user) = self.users.get(&life) else { return };
        self.invites.answered(user, &asked, outcome, &mut self.issues);
        if let Ok(Value::Entered(entered)) = outcome {
            let seat = Seat { session: entered.session, member: entered.member };
            self.memberships.admitted(life, seat, &mut self.issues);
        }
    }

    /// Records an event that a client received; `core` is the client's state after it.
    pub(super) fn event(&mut self, now: Timestamp, life: Life, event: &Event, core: &Core) {
        self.issues.now = now;
        self.told += 1;
        self.heard.insert(life);
        let Some(user) = self.users.get(&life) else { return };
        self.invites.event(now, life, user, event, &mut self.issues);
        if let Event::Disconnected(why) = event {
            self.ends.disconnected(life, &self.users, why, &mut self.issues);
            self.answers.ended(life, &mut self.issues);
            self.memberships.end_life(life);
            self.truths.end_life(life);
            return;
        }
        self.truths.event(life, event, self.ends.causes.limits, &mut self.issues);
        self.memberships.event(life, event, &mut self.issues);
        if let Some(slot) = event.slot()
            && let Some(seat) = self.memberships.seat(life, slot)
        {
            self.ends.event(seat.session, event, &mut self.issues);
            self.logs.event(seat.session, seat.member, event, &mut self.issues);
            self.deliveries.event(life, seat, event, &mut self.issues);
        }
        self.memberships.forget_ended(life, event);
        for mirror in core.mirrors() {
            self.logs.state(mirror, &mut self.issues);
        }
    }

    /// Judges the run at its end, when every living client has received everything. `living` are the
    /// connected clients.
    pub(super) fn finish(&mut self, now: Timestamp, living: &[Living<'_>]) {
        self.issues.now = now;
        self.logs.finish(&mut self.issues);
        self.memberships.finish(living, &mut self.issues);
        self.ends.finish(living, &self.users, self.memberships.seats(), &mut self.issues);
        self.truths.finish(living, self.memberships.seats(), &mut self.issues);
        let seats = Mine::of_all(living);
        self.deliveries.finish(&seats, &mut self.issues);
        self.answers.finish(&seats, self.logs.revisions(), &mut self.issues);
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
