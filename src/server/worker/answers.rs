//! [`Answers`]: what is said to commands about sessions, and waits behind the mail that was there then.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::base::{ConnectionId, Slot};
use crate::wire::ErrorCode;

/// A result, or the refusal of a message.
#[derive(Debug)]
pub(super) struct Answer {
    /// All of it.
    pub(super) message: Bytes,
    /// Why the command was refused, if it was.
    pub(super) refused: Option<ErrorCode>,
}

/// Answers in the order in which they were given. Each leaves when the worker has handled the mail that was there then:
/// what the session had told its members is before it.
// spec: SES-19
#[derive(Debug, Default)]
pub(super) struct Answers {
    waiting: VecDeque<Waiting>,
    /// Mails that were handled so far.
    handled: u64,
}

#[derive(Debug)]
struct Waiting {
    /// How many mails are handled before it.
    mails: u64,
    connection: ConnectionId,
    slot: Slot,
    answer: Answer,
}

impl Answers {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Mails that were handled so far.
    pub(super) fn handled(&self) -> u64 {
        self.handled
    }

    /// One more mail was handled.
    pub(super) fn mail_handled(&mut self) {
        self.handled += 1;
    }

    /// An answer that leaves when `mails` have been handled.
    pub(super) fn push(&mut self, mails: u64, connection: ConnectionId, slot: Slot, answer: Answer) {
        self.waiting.push_back(Waiting { mails, connection, slot, answer });
    }

    /// The next answer that may leave.
    pub(super) fn pop(&mut self) -> Option<(ConnectionId, Slot, Answer)> {
        let next = self.waiting.pop_front_if(|waiting| waiting.mails <= self.handled)?;
        Some((next.connection, next.slot, next.answer))
    }

    /// Takes all of one slot, in their order.
    pub(super) fn take_of(&mut self, connection: ConnectionId, slot: Slot) -> Vec<Answer> {
        let (taken, rest) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<VecDeque<_>, _>(|waiting| (waiting.connection, waiting.slot) == (connection, slot));
        self.waiting = rest;
        taken.into_iter().map(|waiting| waiting.answer).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &'static str) -> Answer {
        Answer { message: Bytes::from_static(text.as_bytes()), refused: None }
    }

    // spec-test: SES-19
    #[test]
    fn an_answer_leaves_behind_the_mail_that_was_there_and_all_of_a_slot_before_its_end() {
        let (ann, ben) = (ConnectionId(1), ConnectionId(2));
        let mut answers = Answers::default();
        for (mails, connection, slot, text) in
            [(1, ann, 1, "a"), (1, ben, 1, "b"), (2, ann, 1, "c"), (3, ann, 2, "d"), (3, ann, 1, "e")]
        {
            answers.push(mails, connection, Slot(slot), answer(text));
        }
        assert!(answers.pop().is_none());
        let leave = |answers: &mut Answers| {
            answers.mail_handled();
            let left = std::iter::from_fn(|| answers.pop()).map(|(_, _, answer)| answer.message);
            left.collect::<Vec<_>>().concat()
        };
        assert_eq!(leave(&mut answers), b"ab");
        let ended: Vec<_> = answers.take_of(ann, Slot(1)).into_iter().map(|answer| answer.message).collect();
        assert_eq!(ended, ["c", "e"]);
        assert_eq!((leave(&mut answers), leave(&mut answers)), (vec![], b"d".to_vec()));
        assert!(answers.is_empty());
    }
}
