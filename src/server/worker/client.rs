//! [`Client`]: one connected user, with its slots, its budget and the answers that are held back.

use bytes::Bytes;

use super::held::{Answer, BehindMail, BehindSnapshot, Entering};
use crate::base::{LoginNumber, SessionKind, Slot, UserId, VecMap, Wire};
use crate::server::budget::Budget;
use crate::session::MemberRef;
use crate::wire::result::Entered;
use crate::wire::{CommandResult, Value};

/// One connected user.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) user: UserId,
    pub(super) login: LoginNumber,
    pub(super) budget: Budget,
    seats: VecMap<Slot, Seat>,
    /// Slots from here on were never assigned.
    next_slot: Slot,
    behind_snapshot: BehindSnapshot,
    /// `None` while it is empty, as it usually is.
    behind_mail: Option<Box<BehindMail>>,
}

/// A session that a user is in, through one of its connection's slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) member: MemberRef,
    pub(super) kind: SessionKind,
}

/// State of a slot for its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SlotState {
    /// The user is in its session.
    Seated(Seat),
    /// The user was in its session.
    Ended,
    /// The slot was never assigned, or the client cannot know of it yet.
    Unknown,
}

impl Client {
    pub(super) fn new(user: UserId, login: LoginNumber, budget: Budget) -> Self {
        let (seats, behind_snapshot) = (VecMap::default(), BehindSnapshot::default());
        Self { user, login, budget, seats, next_slot: Slot(1), behind_snapshot, behind_mail: None }
    }

    /// Returns true for a user that is in no session and waits for no answer about one.
    pub(super) fn is_free(&self) -> bool {
        self.seats.is_empty() && self.behind_mail.is_none()
    }

    /// Returns the slot of the next session; `None` if all slots were assigned.
    // spec: SES-3
    pub(super) fn free_slot(&self) -> Option<Slot> {
        (self.next_slot.0 < u32::MAX).then_some(self.next_slot)
    }

    /// Assigns a slot. The result of the request that entered its session follows the snapshot.
    pub(super) fn take_seat(&mut self, seat: Seat, entering: Entering) {
        let slot = entering.slot();
        self.seats.add(slot, || seat);
        self.next_slot = self.next_slot.max(Slot(slot.0.saturating_add(1)));
        self.behind_snapshot.enter(entering);
    }

    pub(super) fn leave_seat(&mut self, slot: Slot) {
        self.seats.remove(slot);
    }

    /// Holds a result behind the snapshots that were not sent; returns it if there are none.
    pub(super) fn hold_behind_snapshot(&mut self, result: Bytes) -> Option<Bytes> {
        self.behind_snapshot.hold(result)
    }

    pub(super) fn has_behind_mail(&self) -> bool {
        self.behind_mail.is_some()
    }

    /// Holds an answer that leaves on a slot's stream once `mails` mails have been handled.
    pub(super) fn hold_behind_mail(&mut self, mails: u64, slot: Slot, answer: Answer) {
        self.behind_mail.get_or_insert_default().push(mails, slot, answer);
    }

    /// Returns the next answer held behind mail, if it may leave once `handled` mails have been handled.
    pub(super) fn pop_behind_mail(&mut self, handled: u64) -> Option<(Slot, Answer)> {
        let next = self.behind_mail.as_mut()?.pop(handled);
        self.behind_mail.take_if(|held| held.is_empty());
        next
    }

    /// Takes the answers of one slot that are held behind mail.
    pub(super) fn take_behind_mail(&mut self, slot: Slot) -> Vec<Answer> {
        let taken = self.behind_mail.as_mut().map_or_else(Vec::new, |held| held.take_of(slot));
        self.behind_mail.take_if(|held| held.is_empty());
        taken
    }

    /// Returns the bytes of the answers that are held back.
    pub(super) fn held_bytes(&self) -> usize {
        self.behind_snapshot.bytes() + self.behind_mail.as_ref().map_or(0, |held| held.bytes())
    }

    /// Returns what may leave now that a slot's snapshot was sent: the result of the request that entered its
    /// session, and the results behind it.
    pub(super) fn settle_snapshot(&mut self, slot: Slot) -> Vec<Bytes> {
        let Some(seat) = self.seats.get(slot) else { return Vec::new() };
        let MemberRef { session, member } = seat.member;
        let outcome = Ok(Value::Entered(Entered { session, slot, member }));
        self.behind_snapshot.settle(slot, |request| CommandResult { request, outcome }.to_bytes())
    }

    /// Returns the most bytes that will be queued for the sessions being entered.
    pub(super) fn entering_bytes(&self) -> usize {
        self.behind_snapshot.entering_bytes()
    }

    pub(super) fn slot(&self, slot: Slot) -> SlotState {
        match self.seats.get(slot) {
            Some(seat) if !self.behind_snapshot.is_entering(slot) => SlotState::Seated(*seat),
            None if slot.0 > 0 && slot < self.next_slot => SlotState::Ended,
            Some(_) | None => SlotState::Unknown,
        }
    }

    /// Returns the sessions that the user is in, by slot, including those that the client does not know of
    /// yet.
    pub(super) fn seats(&self) -> impl Iterator<Item = (Slot, Seat)> + '_ {
        self.seats.iter().map(|(slot, seat)| (slot, *seat))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{MemberId, RequestId, SessionId};
    use crate::server::limits::Limits;

    // spec-test: SES-3
    #[test]
    fn when_all_slots_were_given_none_is_free() {
        let member = MemberRef { session: SessionId(1), member: MemberId(1) };
        let seat = Seat { member, kind: SessionKind(0) };
        let last = Slot(u32::MAX - 1);
        let ann = UserId::new("ann").unwrap();
        let mut client = Client::new(ann, LoginNumber(1), Budget::new(&Limits::default()));
        client.next_slot = last;
        assert_eq!(client.free_slot(), Some(last));
        client.take_seat(seat, Entering::new(last, RequestId(1), 0));
        client.settle_snapshot(last);
        assert_eq!(client.free_slot(), None);
        assert_eq!(
            (client.slot(last), client.slot(Slot(u32::MAX))),
            (SlotState::Seated(seat), SlotState::Unknown)
        );
    }
}
