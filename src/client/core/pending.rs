//! [`Pending`]: the commands that wait for their results.
//!
//! A server answers the commands of one stream in order, so each stream has a queue of which only the head
//! can be answered.

use std::collections::{BTreeMap, VecDeque};

use super::violation::ServerViolation;
use crate::base::{RequestId, StreamId};

/// Maximum number of a connection's commands that wait for their results; more are refused locally.
pub const MAX_PENDING: usize = 1_024;

/// The kind of a pending command; determines what its result may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asked {
    Create,
    Join,
    Info,
    ListMine,
    ListInvites,
    /// With the number of invited users.
    Invite(usize),
    SetProperties,
    /// A command whose result carries nothing.
    Plain,
}

impl Asked {
    /// Returns true if success opens a session's stream.
    pub(super) fn opens_stream(self) -> bool {
        matches!(self, Self::Create | Self::Join)
    }
}

/// The pending commands, by stream.
#[derive(Debug, Default)]
pub(super) struct Pending {
    streams: BTreeMap<StreamId, VecDeque<(RequestId, Asked)>>,
    last: RequestId,
    count: usize,
}

impl Pending {
    /// Returns the id of the next command; [`Pending::push`] takes it.
    pub(super) fn next(&self) -> RequestId {
        RequestId(self.last.0.wrapping_add(1))
    }

    /// Returns true when no more commands may wait.
    pub(super) fn is_full(&self) -> bool {
        self.count >= MAX_PENDING
    }

    /// Returns how many pending commands may open a session's stream.
    pub(super) fn opening(&self) -> usize {
        let control = self.streams.get(&StreamId::CONTROL);
        control.map_or(0, |queue| queue.iter().filter(|(_, asked)| asked.opens_stream()).count())
    }

    /// Stores the command that was sent on `stream` with the id of [`Pending::next`].
    pub(super) fn push(&mut self, stream: StreamId, asked: Asked) -> RequestId {
        self.last = self.next();
        self.count += 1;
        self.streams.entry(stream).or_default().push_back((self.last, asked));
        self.last
    }

    /// Removes the command that a result on `stream` answers.
    ///
    /// # Errors
    /// [`ServerViolation::UnexpectedResult`] if it is not the oldest on that stream.
    // spec: CMD-4
    pub(super) fn answer(&mut self, stream: StreamId, request: RequestId) -> Result<Asked, ServerViolation> {
        let queue = self.streams.get_mut(&stream);
        let head = queue.and_then(|queue| match queue.front() {
            Some(&(oldest, _)) if oldest == request => queue.pop_front(),
            _ => None,
        });
        let (_, asked) = head.ok_or(ServerViolation::UnexpectedResult { stream, request })?;
        self.count -= 1;
        if self.streams.get(&stream).is_some_and(VecDeque::is_empty) {
            self.streams.remove(&stream);
        }
        Ok(asked)
    }

    /// Removes all commands of a stream that has ended, oldest first.
    pub(super) fn end(&mut self, stream: StreamId) -> impl Iterator<Item = RequestId> + use<> {
        let queue = self.streams.remove(&stream).unwrap_or_default();
        self.count -= queue.len();
        queue.into_iter().map(|(request, _)| request)
    }

    /// Removes all commands, stream by stream.
    pub(super) fn end_all(&mut self) -> impl Iterator<Item = RequestId> + use<> {
        self.count = 0;
        std::mem::take(&mut self.streams).into_values().flatten().map(|(request, _)| request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: StreamId = StreamId(3);

    #[test]
    fn only_the_oldest_of_a_stream_is_answered() {
        let mut pending = Pending::default();
        let first = pending.push(SLOT, Asked::Invite(2));
        let second = pending.push(SLOT, Asked::Plain);
        let refused = ServerViolation::UnexpectedResult { stream: SLOT, request: second };
        assert_eq!(pending.answer(SLOT, second), Err(refused));
        assert!(pending.answer(StreamId::CONTROL, first).is_err(), "not on another stream");
        assert_eq!(pending.answer(SLOT, first), Ok(Asked::Invite(2)));
        assert_eq!(pending.answer(SLOT, second), Ok(Asked::Plain));
        assert!(pending.answer(SLOT, second).is_err(), "not twice");
    }

    #[test]
    fn an_ended_stream_gives_back_what_waits_there_in_order() {
        let mut pending = Pending::default();
        let first = pending.push(SLOT, Asked::Invite(2));
        let other = pending.push(StreamId::CONTROL, Asked::Join);
        let second = pending.push(SLOT, Asked::Plain);
        assert_eq!(pending.end(SLOT).collect::<Vec<_>>(), [first, second]);
        assert_eq!(pending.end(SLOT).count(), 0);
        assert_eq!(pending.opening(), 1);
        assert_eq!(pending.end_all().collect::<Vec<_>>(), [other]);
        assert!(!pending.is_full());
    }

    // spec-test: CMD-2
    #[test]
    fn ids_wrap_while_commands_wait() {
        let mut pending = Pending { last: RequestId(u32::MAX - 2), ..Pending::default() };
        let ids = [(); 4].map(|()| pending.push(SLOT, Asked::Plain));
        assert_eq!(ids.map(|id| id.0), [u32::MAX - 1, u32::MAX, 0, 1]);
        assert!(ids.iter().all(|id| pending.answer(SLOT, *id) == Ok(Asked::Plain)));
    }

    #[test]
    fn so_many_wait_and_no_more() {
        let mut pending = Pending::default();
        for _ in 0..MAX_PENDING {
            assert!(!pending.is_full());
            pending.push(SLOT, Asked::Plain);
        }
        assert!(pending.is_full());
    }
}
