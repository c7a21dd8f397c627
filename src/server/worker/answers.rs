//! Answers to commands about sessions, which wait behind the mail that was present at that moment.
//!
//! An answer leaves once the worker has handled that mail, so that everything that the session had sent its
//! members precedes it. The answers of a connection wait with its client ([`WaitingAnswers`]); the worker
//! knows which connection has an answer behind which mail ([`AnswerTurns`]).
// spec: SES-19

use std::collections::VecDeque;

use bytes::Bytes;

use super::held::cost;
use crate::base::{ConnectionId, Slot};
use crate::wire::ErrorCode;

/// A result, or the refusal of a message.
#[derive(Debug)]
pub(super) struct Answer {
    /// The complete message.
    pub(super) message: Bytes,
    /// Error code, if the command was refused.
    pub(super) refused: Option<ErrorCode>,
}

/// The waiting answers of one connection, in the order in which they were given.
#[derive(Debug, Default)]
pub(super) struct WaitingAnswers {
    waiting: VecDeque<Waiting>,
    /// Bytes that they will count as in the queue.
    bytes: usize,
}

#[derive(Debug)]
struct Waiting {
    /// Number of mails that are handled before it.
    mails: u64,
    slot: Slot,
    answer: Answer,
}

impl WaitingAnswers {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns the bytes that they will count as in the queue.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an answer that leaves on its slot's stream once `mails` mails have been handled.
    pub(super) fn push(&mut self, mails: u64, slot: Slot, answer: Answer) {
        self.bytes += cost(&answer.message);
        self.waiting.push_back(Waiting { mails, slot, answer });
    }

    /// Returns the next answer, if it may leave once `handled` mails have been handled.
    pub(super) fn pop(&mut self, handled: u64) -> Option<(Slot, Answer)> {
        let Waiting { slot, answer, .. } = self.waiting.pop_front_if(|next| next.mails <= handled)?;
        self.bytes -= cost(&answer.message);
        Some((slot, answer))
    }

    /// Takes all answers of one slot, in their order.
    pub(super) fn take_of(&mut self, slot: Slot) -> Vec<Answer> {
        let all = std::mem::take(&mut self.waiting).into_iter();
        let (taken, rest) = all.partition::<Vec<_>, _>(|waiting| waiting.slot == slot);
        self.waiting = rest.into();
        self.bytes -= taken.iter().map(|waiting| cost(&waiting.answer.message)).sum::<usize>();
        taken.into_iter().map(|waiting| waiting.answer).collect()
    }
}

/// Which connections have an answer behind which mail.
#[derive(Debug, Default)]
pub(super) struct AnswerTurns {
    /// One entry for each waiting answer, and possibly for answers that have left before their turn.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &'static str) -> Answer {
        Answer { message: Bytes::from_static(text.as_bytes()), refused: None }
    }

    // spec-test: SES-19
    #[test]
    fn an_answer_leaves_behind_the_mail_that_was_there_and_those_of_a_slot_before_its_end() {
        let mut answers = WaitingAnswers::default();
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
