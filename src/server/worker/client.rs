//! [`Client`]: one connected user, with its slots, its budget and the results that it still gets.

use bytes::Bytes;

use super::answers::{Answer, WaitingAnswers};
use super::held::HeldResults;
use crate::base::{LoginNumber, RequestId, SessionKind, Slot, UserId, VecMap, Wire};
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
    held: HeldResults,
    /// Answers about sessions that wait behind mail; usually there are none.
    waiting: Option<Box<WaitingAnswers>>,
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
        let (seats, held) = (VecMap::default(), HeldResults::default());
        Self { user, login, budget, seats, next_slot: Slot(1), held, waiting: None }
    }

    /// Returns true for a user that is in no session and waits for no answer about one.
    pub(super) fn is_free(&self) -> bool {
        self.seats.is_empty() && self.waiting.is_none()
    }

    /// Returns the slot of the next session; `None` if all slots were assigned.
    // spec: SES-3
    pub(super) fn free_slot(&self) -> Option<Slot> {
        (self.next_slot.0 < u32::MAX).then_some(self.next_slot)
    }

    /// Assigns a slot. The result of `request`, which entered its session, follows the snapshot.
    pub(super) fn take_seat(&mut self, slot: Slot, seat: Seat, request: RequestId) {
        self.seats.add(slot, || seat);
        self.next_slot = self.next_slot.max(Slot(slot.0.saturating_add(1)));
        self.held.hold_entry(slot, request);
    }

    pub(super) fn leave_seat(&mut self, slot: Slot) {
        self.seats.remove(slot);
    }

    /// Holds a result behind those that wait for a snapshot; returns it if there are none.
    pub(super) fn hold(&mut self, result: Bytes) -> Option<Bytes> {
        if self.held.is_empty() {
            return Some(result);
        }
        self.held.hold(result);
        None
    }

    pub(super) fn has_waiting_answers(&self) -> bool {
        self.waiting.is_some()
    }

    /// Adds an answer that leaves on a slot's stream once `mails` mails have been handled.
    pub(super) fn add_waiting_answer(&mut self, mails: u64, slot: Slot, answer: Answer) {
        self.waiting.get_or_insert_default().push(mails, slot, answer);
    }

    /// Returns the next waiting answer, if it may leave once `handled` mails have been handled.
    pub(super) fn waiting_answer(&mut self, handled: u64) -> Option<(Slot, Answer)> {
        let next = self.waiting.as_mut()?.pop(handled);
        self.waiting.take_if(|waiting| waiting.is_empty());
        next
    }

    /// Takes the waiting answers of one slot.
    pub(super) fn waiting_answers_of(&mut self, slot: Slot) -> Vec<Answer> {
        let taken = self.waiting.as_mut().map_or_else(Vec::new, |waiting| waiting.take_of(slot));
        self.waiting.take_if(|waiting| waiting.is_empty());
        taken
    }

    /// Returns the bytes that wait before they are queued.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.held.bytes() + self.waiting.as_ref().map_or(0, |waiting| waiting.bytes())
    }

    /// Settles the entry of a slot whose snapshot was sent. Returns the result of the entry and those behind
    /// it.
    pub(super) fn settle_entry(&mut self, slot: Slot) -> Vec<Bytes> {
        let Some(seat) = self.seats.get(slot) else { return Vec::new() };
        let MemberRef { session, member } = seat.member;
        let outcome = Ok(Value::Entered(Entered { session, slot, member }));
        self.held.settle(slot, |request| CommandResult { request, outcome }.to_bytes())
    }

    pub(super) fn slot(&self, slot: Slot) -> SlotState {
        match self.seats.get(slot) {
            Some(seat) if !self.held.is_entering(slot) => SlotState::Seated(*seat),
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
    use crate::base::{MemberId, SessionId};
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
        client.take_seat(last, seat, RequestId(1));
        client.settle_entry(last);
        assert_eq!(client.free_slot(), None);
        assert_eq!(
            (client.slot(last), client.slot(Slot(u32::MAX))),
            (SlotState::Seated(seat), SlotState::Unknown)
        );
    }
}
