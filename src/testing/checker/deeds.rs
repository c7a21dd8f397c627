//! What the operator was told is done: the connection, the membership or the session ends at once and for the
//! given reason, unless it has ended in another way before.

use std::collections::BTreeMap;
use std::time::Duration;

use super::answers::Asked;
use super::intents::{Effect, Intents};
use super::{Issues, Life, Living, Mine, Seat};
use crate::base::{SessionId, Timestamp};
use crate::client::core::{Disconnected, Event, RequestError};
use crate::wire::{CloseCode, LeaveReason, Reason, Request, Value};

/// The operator's deeds, the first of each kind, and the ends that may have come before them.
#[derive(Default)]
pub(super) struct Deeds {
    /// Lives that were connected when their users were kicked.
    kicks: BTreeMap<Life, Deed>,
    removals: BTreeMap<Seat, Deed>,
    closings: BTreeMap<SessionId, Deed>,
    /// When clients closed their connections or crashed.
    quits: BTreeMap<Life, Timestamp>,
    /// The ends of memberships, as members were told.
    leaves: BTreeMap<Seat, (LeaveReason, Reason)>,
}

#[derive(Debug)]
struct Deed {
    at: Timestamp,
    reason: Reason,
}

/// Longest time from a deed until the server has carried it out.
const AT_ONCE: Duration = Duration::from_millis(20);

impl Deeds {
    /// Records that the operator kicks a user, connected as `life`.
    pub(super) fn kicked(&mut self, at: Timestamp, life: Life, reason: &Reason) {
        self.kicks.entry(life).or_insert_with(|| Deed { at, reason: reason.clone() });
    }

    /// Records that the operator removes a member.
    pub(super) fn removed(&mut self, at: Timestamp, seat: Seat, reason: &Reason) {
        self.removals.entry(seat).or_insert_with(|| Deed { at, reason: reason.clone() });
    }

    /// Records that the operator closes a session.
    pub(super) fn closed(&mut self, at: Timestamp, session: SessionId, reason: &Reason) {
        self.closings.entry(session).or_insert_with(|| Deed { at, reason: reason.clone() });
    }

    /// Records that the server begins to shut down. It need not carry out what it has not yet.
    pub(super) fn drains(&mut self, now: Timestamp) {
        let is_carried_out = |deed: &Deed| deed.is_carried_out(now);
        self.kicks.retain(|_, deed| is_carried_out(deed));
        self.removals.retain(|_, deed| is_carried_out(deed));
        self.closings.retain(|_, deed| is_carried_out(deed));
    }

    /// Records that a client closes its connection or crashes.
    pub(super) fn quit(&mut self, now: Timestamp, life: Life) {
        self.quits.entry(life).or_insert(now);
    }

    /// Records an event of a session.
    pub(super) fn event(&mut self, session: SessionId, event: &Event) {
        if let Event::MemberLeft { member, why, reason, .. } = event {
            self.leaves.insert(Seat { session, member: *member }, (*why, reason.clone()));
        }
    }

    /// Records the end of a connection, which is for the operator's reason if it is for theirs. Whether it
    /// may have ended in another way before is checked with all other ends.
    pub(super) fn disconnected(
        &mut self,
        now: Timestamp,
        life: Life,
        why: &Disconnected,
        issues: &mut Issues,
    ) {
        if *why == Disconnected::ByClient {
            self.quit(now, life);
        }
        let Some(deed) = self.kicks.get(&life) else { return };
        let expected = match why {
            Disconnected::ByServer { code: CloseCode::KickedByOperator, reason } => {
                *reason == deed.reason.as_str()
            }
            Disconnected::ByServer { code: CloseCode::ShuttingDown, .. } => false,
            _ => true,
        };
        if !expected {
            issues.add(format_args!("{life:?} was disconnected: {why}, but was kicked before: {deed:?}"));
        }
    }

    /// Checks that a command was not carried out though its client, its session or a member that it is about
    /// had been ended when it was sent.
    pub(super) fn answered(
        &self,
        life: Life,
        asked: &Asked,
        outcome: &Result<Value, RequestError>,
        issues: &mut Issues,
    ) {
        let Ok(value) = outcome else { return };
        let own = asked.seat.map(|Mine { session, member, .. }| Seat { session, member });
        let target = match &asked.request {
            Request::Kick(kick) => Some(kick.member),
            Request::Transfer(transfer) => Some(transfer.member),
            _ => None,
        };
        let target = own.zip(target).map(|(own, member)| Seat { member, ..own });
        let entered = match value {
            Value::Entered(entered) => Some(Seat { session: entered.session, member: entered.member }),
            _ => None,
        };
        let of_seats = [own, target, entered].into_iter().flatten().filter_map(|seat| self.of_seat(seat));
        let mut deeds = of_seats.chain(self.kicks.get(&life));
        if let Some(deed) = deeds.find(|deed| deed.is_carried_out(asked.at)) {
            issues.add(format_args!("{life:?} was answered {outcome:?} to {asked:?}, after {deed:?}"));
        }
    }

    /// Returns the first deed that ends the membership alone or with its session.
    fn of_seat(&self, seat: Seat) -> Option<&Deed> {
        let deeds = [self.removals.get(&seat), self.closings.get(&seat.session)];
        deeds.into_iter().flatten().min_by_key(|deed| deed.at)
    }

    /// Checks that nobody is left where the operator has ended it, and that memberships that have ended in
    /// another way have ended before. `seats` has the life that held each seat.
    pub(super) fn finish(
        &self,
        living: &[Living<'_>],
        intents: &Intents,
        seats: &BTreeMap<Seat, Life>,
        issues: &mut Issues,
    ) {
        for (life, _, mirrors) in living {
            if let Some(deed) = self.kicks.get(life) {
                issues.add(format_args!("{life:?} was kicked and is still there: {deed:?}"));
            }
            for mirror in mirrors {
                let seat = Seat { session: mirror.session(), member: mirror.own() };
                if let Some(deed) = self.of_seat(seat) {
                    issues.add(format_args!("{life:?} is still at {seat:?}, which was ended: {deed:?}"));
                }
            }
        }
        for (seat, (why, reason)) in &self.leaves {
            let Some(life) = seats.get(seat) else { continue };
            let deeds = self.of_seat(*seat).into_iter().chain(self.kicks.get(life));
            let Some(deed) = deeds.min_by_key(|deed| deed.at) else { continue };
            let quits_later = || self.quits.get(life).is_some_and(|quit| deed.is_carried_out(*quit));
            let is_later = match why {
                LeaveReason::Left => !intents.may(Effect::Leaves(*seat)) && quits_later(),
                LeaveReason::TimedOut => quits_later(),
                LeaveReason::Dropped => self.kicks.get(life).is_some_and(|kick| deed.is_carried_out(kick.at)),
                LeaveReason::Kicked => {
                    let by_owner = || intents.may(Effect::IsKicked(*seat, reason.clone()));
                    self.removals.get(seat).is_some_and(|first| first.reason != *reason) && !by_owner()
                }
                LeaveReason::Replaced | LeaveReason::Lagging => false,
            };
            if is_later {
                issues.add(format_args!(
                    "{seat:?} of {life:?} is told to have left: {why} {reason:?}, after {deed:?}"
                ));
            }
        }
    }
}

impl Deed {
    /// Whether the server has certainly carried it out before `at`.
    fn is_carried_out(&self, at: Timestamp) -> bool {
        self.at + AT_ONCE < at
    }
}
