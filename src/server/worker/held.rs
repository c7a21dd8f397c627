//! Answers that are held back, so that their receiver already knows what they refer to.
//!
//! | what | on stream | is held while | until |
//! |---|---|---|---|
//! | [`BehindSnapshot`]: results for a user | 0 | a session is entered | its snapshot is sent |
//! | [`BehindMail`]: answers for a member | its slot | mail is present | it is handled, or the slot ends |
//!
//! Both keep the order of their stream. What is held counts as queued for its connection. A client holds its
//! own; the worker knows which connection has an answer behind which mail ([`AnswerTurns`]).

use std::collections::VecDeque;

use bytes::Bytes;

use crate::base::{ConnectionId, RequestId, Slot};
use crate::wire::ErrorCode;
use crate::wire::frame::MESSAGE_OVERHEAD_BYTES;

/// A result, or the refusal of a message.
#[derive(Debug)]
pub(super) struct Answer {
    /// The complete message.
    pub(super) message: Bytes,
    /// Error code, if the command was refused.
    pub(super) refused: Option<ErrorCode>,
}

/// The results of one connection's control stream that are held, in the order of their requests.
///
/// Sessions are entered and their snapshots are sent in the order of their slots, because a worker's mail
/// keeps the order in which the worker entered sessions.
// spec: SES-14
#[derive(Debug, Default)]
pub(super) struct BehindSnapshot {
    entering: Vec<Entering>,
    /// Bytes that the held results will count as in the queue.
    bytes: usize,
    /// Bytes that the snapshots and the results of their requests will count as, at most.
    entering_bytes: usize,
}

/// A session whose snapshot was not sent.
#[derive(Debug)]
pub(super) struct Entering {
    slot: Slot,
    /// The request that entered it.
    request: RequestId,
    /// Most bytes that the snapshot and the request's result will count as in the queue.
    bytes: usize,
    /// The results behind that of the request.
    behind: Vec<Bytes>,
}

/// Most bytes that the result of a request that entered a session counts as in the queue.
pub(super) const ENTERED_BYTES: usize = 34 + MESSAGE_OVERHEAD_BYTES;

impl Entering {
    /// A session that `request` entered as `slot`, with a snapshot of at most so many bytes.
    pub(super) fn new(slot: Slot, request: RequestId, snapshot_bytes: usize) -> Self {
        let bytes = snapshot_bytes + MESSAGE_OVERHEAD_BYTES + ENTERED_BYTES;
        Self { slot, request, bytes, behind: Vec::new() }
    }

    pub(super) fn slot(&self) -> Slot {
        self.slot
    }
}

impl BehindSnapshot {
    /// Returns the bytes of the results, including the overhead of each in a connection's queue.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns the most bytes that will be queued for the sessions being entered: their snapshots, and the
    /// results of the requests that entered them.
    pub(super) fn entering_bytes(&self) -> usize {
        self.entering_bytes
    }

    /// Holds the result of a request that entered a session until the slot's snapshot is sent.
    pub(super) fn enter(&mut self, entering: Entering) {
        self.entering_bytes += entering.bytes;
        self.entering.push(entering);
    }

    /// Holds a result behind the snapshots that were not sent; returns it if there are none.
    pub(super) fn hold(&mut self, result: Bytes) -> Option<Bytes> {
        let Some(last) = self.entering.last_mut() else { return Some(result) };
        self.bytes += cost(&result);
        last.behind.push(result);
        None
    }

    /// Returns true while a slot's snapshot was not sent, so that the client cannot know of the slot.
    pub(super) fn is_entering(&self, slot: Slot) -> bool {
        self.entering.first().is_some_and(|first| first.slot <= slot)
    }

    /// Returns what may leave now that a slot's snapshot was sent: `result` of the request that entered its
    /// session, and the results behind it.
    pub(super) fn settle(&mut self, slot: Slot, result: impl FnOnce(RequestId) -> Bytes) -> Vec<Bytes> {
        if self.entering.first().is_none_or(|first| first.slot != slot) {
            return Vec::new();
        }
        let Entering { request, bytes, behind, .. } = self.entering.remove(0);
        self.entering_bytes -= bytes;
        self.bytes -= behind.iter().map(cost).sum::<usize>();
        // Keeps no memory for later results.
        self.entering.shrink_to_fit();
        std::iter::once(result(request)).chain(behind).collect()
    }
}

/// The answers of one connection to commands about sessions, in the order in which they were given. Each
/// leaves once the mail that was present has been handled, so that everything that the session had sent its
/// members precedes it.
// spec: SES-19
#[derive(Debug, Default)]
pub(super) struct BehindMail {
    held: VecDeque<Held>,
    /// Bytes that they will count as in the queue.
    bytes: usize,
}

#[derive(Debug)]
struct Held {
    /// Number of mails that are handled before it.
    mails: u64,
    slot: Slot,
    answer: Answer,
}

impl BehindMail {
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Returns the bytes that they will count as in the queue.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an answer that leaves on its slot's stream once `mails` mails have been handled.
    pub(super) fn push(&mut self, mails: u64, slot: Slot, answer: Answer) {
        self.bytes += cost(&answer.message);
        self.held.push_back(Held { mails, slot, answer });
    }

    /// Returns the next answer, if it may leave once `handled` mails have been handled.
    pub(super) fn pop(&mut self, handled: u64) -> Option<(Slot, Answer)> {
        let Held { slot, answer, .. } = self.held.pop_front_if(|next| next.mails <= handled)?;
        self.bytes -= cost(&answer.message);
        Some((slot, answer))
    }

    /// Takes all answers of one slot, in their order.
    pub(super) fn take_of(&mut self, slot: Slot) -> Vec<Answer> {
        let all = std::mem::take(&mut self.held).into_iter();
        let (taken, rest) = all.partition::<Vec<_>, _>(|held| held.slot == slot);
        self.held = rest.into();
        self.bytes -= taken.iter().map(|held| cost(&held.answer.message)).sum::<usize>();
        taken.into_iter().map(|held| held.answer).collect()
    }
}

/// Which connections have an answer behind which mail.
#[derive(Debug, Default)]
pub(super) struct AnswerTurns {
    /// One for each held answer, and possibly for answers that have left before their turn.
    turns: VecDeque<(u64, ConnectionId)>,
    /// Number of mails handled so far.
    handled: u64,
}

impl AnswerTurns {
    /// Returns the number of mails handled so far.
    pub(super) fn handled(&self) -> u64 {
        self.handled
    }

    /// Counts one more handled mail.
    pub(super) fn mail_handled(&mut self) {
        self.handled += 1;
    }

    /// Records that a connection has an answer that leaves once `mails` mails have been handled.
    pub(super) fn push(&mut self, mails: u64, connection: ConnectionId) {
        self.turns.push_back((mails, connection));
    }

    /// Returns true if an answer is due.
    pub(super) fn is_due(&self) -> bool {
        self.turns.front().is_some_and(|(mails, _)| *mails <= self.handled)
    }

    /// Returns the next connection with an answer that is due.
    pub(super) fn pop(&mut self) -> Option<ConnectionId> {
        let handled = self.handled;
        self.turns.pop_front_if(|(mails, _)| *mails <= handled).map(|(_, connection)| connection)
    }
}

/// Returns the bytes that a message will count as in the queue.
fn cost(message: &Bytes) -> usize {
    message.len() + MESSAGE_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    // spec-test: SES-14
    #[test]
    fn what_is_held_leaves_in_order_behind_its_snapshot() {
        let mut held = BehindSnapshot::default();
        assert_eq!(held.hold(result("0")), Some(result("0")));
        held.enter(Entering::new(Slot(3), RequestId(1), 100));
        assert_eq!(held.hold(result("a")), None);
        held.enter(Entering::new(Slot(4), RequestId(3), 200));
        assert_eq!(["b", "c"].map(|text| held.hold(result(text))), [None, None]);
        assert_eq!([2, 3, 4, 5].map(|slot| held.is_entering(Slot(slot))), [false, true, true, true]);
        assert_eq!(held.bytes(), 3 * (1 + MESSAGE_OVERHEAD_BYTES));
        assert_eq!(held.entering_bytes(), 300 + 2 * (MESSAGE_OVERHEAD_BYTES + ENTERED_BYTES));
        assert_eq!(held.settle(Slot(9), |_| panic!("not entered")), [] as [Bytes; 0]);
        let entered = |request: RequestId| Bytes::from(request.0.to_string());
        assert_eq!(held.settle(Slot(3), entered), ["1", "a"].map(result));
        assert_eq!([3, 4].map(|slot| held.is_entering(Slot(slot))), [false, true]);
        assert_eq!(held.settle(Slot(4), entered), ["3", "b", "c"].map(result));
        assert_eq!((held.bytes(), held.entering_bytes(), held.entering.capacity()), (0, 0, 0));
    }

    fn answer(text: &'static str) -> Answer {
        Answer { message: Bytes::from_static(text.as_bytes()), refused: None }
    }

    // spec-test: SES-19
    #[test]
    fn an_answer_leaves_behind_the_mail_that_was_there_and_those_of_a_slot_before_its_end() {
        let mut answers = BehindMail::default();
        for (mails, slot, text) in [(1, 1, "a"), (2, 1, "c"), (3, 2, "d"), (3, 1, "e")] {
            answers.push(mails, Slot(slot), answer(text));
        }
        assert_eq!(answers.bytes(), 4 * 65);
        assert!(answers.pop(0).is_none());
        assert_eq!(answers.pop(1).unwrap().1.message, "a");
        assert!(answers.pop(1).is_none());
        let ended: Vec<_> = answers.take_of(Slot(1)).into_iter().map(|answer| answer.message).collect();
        assert_eq!((ended, answers.bytes()), (vec!["c".into(), "e".into()], 65));
        assert!(answers.pop(2).is_none());
        let (slot, last) = answers.pop(3).unwrap();
        assert_eq!((slot, last.message), (Slot(2), "d".into()));
        assert!(answers.is_empty() && answers.bytes() == 0);
    }

    // spec-test: SES-19
    #[test]
    fn turns_come_with_the_mail_that_is_handled() {
        let (ann, ben) = (ConnectionId(1), ConnectionId(2));
        let mut turns = AnswerTurns::default();
        for (mails, connection) in [(1, ann), (1, ben), (2, ann)] {
            turns.push(mails, connection);
        }
        let mut due = || {
            let is_due = turns.is_due();
            let all = std::iter::from_fn(|| turns.pop()).collect::<Vec<_>>();
            assert_eq!(is_due, !all.is_empty());
            turns.mail_handled();
            all
        };
        assert_eq!([due(), due(), due(), due()], [vec![], vec![ann, ben], vec![ann], vec![]]);
    }
}
