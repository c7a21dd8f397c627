//! [`Checker`]: hears everything, holds the promises of sessions against it, and lists what is broken.
//!
//! It knows only what clients know: what they asked, when, and what they were told. Some promises can
//! be judged at once, others when the run is over and nothing is under way ([`Checker::finish`]).

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

/// One connection of one client, from its attempt to connect on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Life(pub(super) u32);

/// One message, the `serial`th of its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Tag {
    pub(super) life: Life,
    pub(super) serial: u32,
}

/// A client that is connected when a run is over, its user, and the sessions that it knows itself to be in.
pub(super) type Living<'a> = (Life, UserId, Vec<&'a Mirror>);

/// A membership of a session: member ids are never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Seat {
    session: SessionId,
    member: MemberId,
}

/// Holds a run to the promises.
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
    /// Those that were told something, by a server that knew them.
    heard: BTreeSet<Life>,
    told: u64,
}

impl Checker {
    /// A checker of a run in which connections may end for these causes.
    pub(super) fn new(causes: Causes) -> Self {
        Self { ends: Ends::new(causes), ..Self::default() }
    }

    /// What is broken, in the order in which it showed.
    pub fn issues(&self) -> &[String] {
        &self.issues.lines
    }

    /// How much clients were told: a run in which little happens proves little.
    pub fn told(&self) -> u64 {
        self.told
    }

    /// Messages of members that reached a member.
    pub fn delivered(&self) -> u64 {
        self.deliveries.delivered()
    }

    /// Sessions that were entered.
    pub fn sessions(&self) -> usize {
        self.logs.len()
    }

    /// A user begins to connect.
    pub(super) fn born(&mut self, life: Life, user: UserId) {
        self.users.insert(life, user);
    }

    /// The client crashed: nobody will be told what became of its commands.
    pub(super) fn crashed(&mut self, life: Life) {
        self.answers.forget(life);
        self.memberships.end_life(life);
        self.truths.end_life(life);
        self.ends.crashed(life);
    }

    /// The client has another address from now on.
    pub(super) fn moved(&mut self, life: Life) {
        self.ends.moved(life);
    }

    /// The operator sends a user away, who is connected as `life` if that is known.
    pub(super) fn kicked(&mut self, user: &UserId, life: Option<Life>, reason: &Reason) {
        // To the server its client may not be there before it has told it something.
        let life = life.filter(|life| self.heard.contains(life));
        self.ends.kicked(user, life, reason);
    }

    /// The operator ends a session.
    pub(super) fn closed(&mut self, session: SessionId, reason: &Reason) {
        self.ends.closed(session, reason);
    }

    /// The operator removes a user from a session.
    pub(super) fn removed(&mut self, session: SessionId, user: &UserId) {
        self.ends.removed(session, user);
    }

    /// The server begins to shut down.
    pub(super) fn drains(&mut self) {
        self.ends.causes.drain = true;
    }

    /// A client asks.
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

    /// Who is no client asks for something in a session: whether it is carried out is not known.
    pub(super) fn strange(&mut self, seat: Mine, request: &Request) {
        self.ends.asked(Some(seat), request);
        self.logs.asked(seat.session, request);
    }

    /// A client sends a message.
    pub(super) fn sent(&mut self, sending: Sending) {
        self.deliveries.sent(sending);
    }

    /// A client is told the result of a command.
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

    /// A client is told an event; `core` is the client, after it.
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

    /// The run is over: every client that lives has heard all there is. `living` are those that are
    /// connected.
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

    /// Notes an issue unless `holds`.
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
    /// The seats of those that are connected, and whose life each is.
    fn of_all(living: &[Living<'_>]) -> BTreeMap<Seat, Life> {
        let seat = |mirror: &Mirror| Seat { session: mirror.session(), member: mirror.own() };
        let of_one = |(life, _, mirrors): &Living<'_>| {
            let life = *life;
            mirrors.iter().map(move |mirror| (seat(mirror), life)).collect::<Vec<_>>()
        };
        living.iter().flat_map(of_one).collect()
    }
}
