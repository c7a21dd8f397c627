//! [`Lane`]: messages that wait for a packet, in the order in which they were enqueued.

use std::collections::VecDeque;

use crate::base::{prefetch, prefetch_end};
use crate::rudp::Payload;
use crate::rudp::connection::stream::{MessageRef, Space};

/// Messages to retransmit, and behind them those not yet sent.
#[derive(Debug)]
pub struct Lane {
    /// Lost messages and probes, which leave before `fresh`.
    pub resend: VecDeque<MessageRef>,
    /// Messages not yet sent, each with its enqueue number, which counts over all lanes; 0 for one that was
    /// put at or near the front, as if it had waited longest.
    fresh: VecDeque<(u64, Queued)>,
    /// Length of `fresh` at which it is swept.
    sweep_at: u32,
    /// Length of the front of `fresh` that holds nothing that may be shed. The very first place is never that
    /// of a message that was shed.
    unsheddable: u32,
}

/// A message that has not left, or not all of it.
#[derive(Debug)]
pub enum Queued {
    /// A payload kept only here.
    Unreliable(Payload),
    /// A message of a stream that may be shed.
    Sequenced(MessageRef),
    /// A message of a stream that may not be shed.
    Reliable(MessageRef),
    /// The place of a message that was shed. Closing the gap would move all places before it or all behind
    /// it.
    Gone,
}

/// Messages that a member of a session of 8 is sent in one frame of the game; few enough for the prefetch to
/// finish in time.
const PREFETCHED: usize = 8;
/// A shorter lane is not swept.
const MIN_SWEEP: u32 = 1_024;

#[cfg(any(test, fuzzing))]
impl Queued {
    /// Returns the message, if a stream keeps it.
    pub fn message(&self) -> Option<MessageRef> {
        match self {
            Self::Unreliable(_) | Self::Gone => None,
            Self::Sequenced(message) | Self::Reliable(message) => Some(*message),
        }
    }
}

impl Default for Lane {
    fn default() -> Self {
        Self::new()
    }
}

impl Lane {
    pub const fn new() -> Self {
        Self { resend: VecDeque::new(), fresh: VecDeque::new(), sweep_at: MIN_SWEEP, unsheddable: 0 }
    }

    /// Prefetches the memory in which the next message will wait.
    pub fn prefetch_to_push(&self) {
        prefetch_end(&self.fresh);
    }

    /// Prefetches the messages at the front.
    pub fn prefetch_next(&self) {
        self.fresh.iter().take(PREFETCHED).for_each(prefetch);
    }

    /// Returns true when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.resend.is_empty() && self.fresh.is_empty()
    }

    /// Returns the number of places in `fresh`.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.fresh.len()
    }

    /// Returns what waits at this place of `fresh`.
    pub fn get(&self, at: usize) -> Option<&Queued> {
        self.fresh.get(at).map(|(_, queued)| queued)
    }

    /// Returns how many messages were enqueued before the one at this place.
    pub fn came(&self, at: usize) -> Option<u64> {
        self.fresh.get(at).map(|(came, _)| *came)
    }

    /// Adds a message at the end.
    pub fn push(&mut self, came: u64, queued: Queued) {
        self.fresh.push_back((came, queued));
    }

    /// Adds a message before all others.
    pub fn push_first(&mut self, queued: Queued) {
        self.unsheddable = if matches!(queued, Queued::Reliable(_)) { self.unsheddable + 1 } else { 0 };
        self.fresh.push_front((0, queued));
    }

    /// Puts a message that was sent in part back, `at` places behind the front. Where those that follow it on its
    /// ordered stream are before that, they all keep their places, but take them in the order of their numbers:
    /// none can be delivered before it.
    pub fn put_back(&mut self, message: MessageRef, at: usize) {
        let mut at = at.min(self.fresh.len());
        // Only fragmented messages are put back. They have a lane of their own, whose enqueue numbers are
        // never compared.
        self.fresh.insert(at, (0, Queued::Reliable(message)));
        let follows =
            |queued: &Queued| matches!(queued, Queued::Reliable(other) if other.comes_after(&message));
        for before in (0..at).rev().filter(|_| message.space == Space::Ordered) {
            if self.get(before).is_some_and(follows) {
                self.fresh.swap(before, at);
                at = before;
            }
        }
    }

    /// Removes the entry at this place of `fresh`.
    pub fn remove(&mut self, at: usize) -> Option<Queued> {
        self.unsheddable -= u32::from(at < self.unsheddable as usize);
        // Nearly always the first place.
        let removed = if at == 0 { self.fresh.pop_front() } else { self.fresh.remove(at) };
        self.drop_gone(0);
        removed.map(|(_, queued)| queued)
    }

    /// Drops the empty places from `at` on, up to the next one in use.
    pub fn drop_gone(&mut self, at: usize) {
        let gone = self.fresh.range(at..).take_while(|(_, queued)| matches!(queued, Queued::Gone)).count();
        if gone > 0 {
            self.fresh.drain(at..at + gone);
            let unsheddable = (self.unsheddable as usize).saturating_sub(at).min(gone);
            self.unsheddable -= u32::try_from(unsheddable).unwrap_or(self.unsheddable);
        }
    }

    /// Returns how many messages were enqueued before the oldest that may be shed. Each place is examined
    /// once, however often this is called.
    pub fn sheds(&mut self) -> Option<u64> {
        loop {
            match self.fresh.get(self.unsheddable as usize)? {
                (_, Queued::Reliable(_) | Queued::Gone) => self.unsheddable += 1,
                (came, _) => return Some(*came),
            }
        }
    }

    /// Removes the oldest message that may be shed.
    pub fn shed(&mut self) -> Option<Queued> {
        self.sheds()?;
        let (_, queued) = self.fresh.get_mut(self.unsheddable as usize)?;
        let shed = std::mem::replace(queued, Queued::Gone);
        self.drop_gone(0);
        Some(shed)
    }

    /// Drops the places of messages that are no longer kept, once they may be half of all places.
    pub fn sweep(&mut self, is_kept: impl Fn(MessageRef) -> bool) {
        if self.fresh.len() >= self.sweep_at as usize {
            self.fresh.retain(|(_, queued)| match queued {
                Queued::Unreliable(_) => true,
                Queued::Sequenced(message) | Queued::Reliable(message) => is_kept(*message),
                Queued::Gone => false,
            });
            self.unsheddable = 0;
            let left = u32::try_from(self.fresh.len()).unwrap_or(u32::MAX);
            self.sweep_at = MIN_SWEEP.max(left.saturating_mul(2));
        }
    }

    /// Frees memory beyond what is in use.
    pub fn shrink(&mut self) {
        self.resend.shrink_to_fit();
        self.fresh.shrink_to_fit();
    }

    /// Returns the number of places that take memory.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.resend.capacity() + self.fresh.capacity()
    }

    /// Returns how often the message is queued.
    #[cfg(any(test, fuzzing))]
    pub fn count(&self, message: MessageRef) -> usize {
        let fresh = self.fresh.iter().filter(|(_, queued)| queued.message() == Some(message));
        fresh.count() + self.resend.iter().filter(|it| **it == message).count()
    }

    /// Returns the payloads that no stream keeps.
    #[cfg(any(test, fuzzing))]
    pub fn unreliable(&self) -> impl Iterator<Item = &Payload> {
        self.fresh.iter().filter_map(|(_, queued)| match queued {
            Queued::Unreliable(payload) => Some(payload),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::StreamId;
    use crate::rudp::connection::stream::Space;

    fn message(number: u64) -> MessageRef {
        MessageRef { stream: StreamId(1), space: Space::Keyed, number }
    }

    #[test]
    fn the_oldest_that_may_be_shed_is_found_whatever_left_before() {
        let mut lane = Lane::default();
        for number in 0..100 {
            let queued = if number % 10 == 9 { Queued::Sequenced } else { Queued::Reliable };
            lane.push(number, queued(message(number)));
        }
        assert_eq!(lane.shed().unwrap().message(), Some(message(9)));
        for number in 0..5 {
            assert_eq!(lane.remove(0).unwrap().message(), Some(message(number)));
        }
        assert_eq!(lane.shed().unwrap().message(), Some(message(19)));
        lane.push(100, Queued::Unreliable(Payload::default()));
        lane.push_first(Queued::Reliable(message(101)));
        assert_eq!(lane.get(0).and_then(Queued::message), Some(message(101)));
        assert_eq!(lane.remove(0).unwrap().message(), Some(message(101)));
        lane.push_first(Queued::Reliable(message(102)));
        for number in (29..100).step_by(10) {
            assert_eq!(lane.shed().unwrap().message(), Some(message(number)));
        }
        assert!(matches!(lane.shed(), Some(Queued::Unreliable(_))));
        assert!(lane.shed().is_none());
        assert_eq!(lane.len(), 97, "places stay until they are swept, or the first");
        lane.sweep_at = 0;
        lane.sweep(|_| true);
        assert_eq!(lane.len(), 86);
    }

    #[test]
    fn the_first_place_is_never_that_of_a_message_that_was_shed() {
        let mut lane = Lane::default();
        for number in 0..6 {
            let queued = if number % 3 == 0 { Queued::Reliable } else { Queued::Sequenced };
            lane.push(number, queued(message(number)));
        }
        (0..4).for_each(|_| assert!(lane.shed().is_some()));
        assert_eq!((lane.len(), lane.came(0)), (6, Some(0)));
        lane.remove(0);
        assert_eq!((lane.len(), lane.came(0)), (3, Some(3)));
        lane.push(6, Queued::Unreliable(Payload::default()));
        assert!(lane.shed().is_some() && lane.shed().is_none());
        lane.remove(0);
        assert!(lane.is_empty());
        lane.push(7, Queued::Sequenced(message(7)));
        assert!(lane.shed().is_some() && lane.is_empty());
    }

    #[test]
    fn places_in_a_row_that_hold_nothing_are_dropped_together() {
        let mut lane = Lane::default();
        for number in 0..10 {
            let queued = if [3, 4, 5, 7, 9].contains(&number) { Queued::Sequenced } else { Queued::Reliable };
            lane.push(number, queued(message(number)));
        }
        (0..4).for_each(|_| assert!(lane.shed().is_some()));
        lane.drop_gone(3);
        assert_eq!((lane.len(), lane.came(3)), (7, Some(6)));
        lane.drop_gone(3);
        assert_eq!(lane.len(), 7, "that one holds something");
        assert_eq!(lane.sheds(), Some(9));
        assert_eq!(lane.shed().unwrap().message(), Some(message(9)));
    }
}
