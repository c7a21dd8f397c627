//! Recounts a stream's totals for tests and fuzzing.

use std::collections::BTreeSet;

use super::{FragmentId, SendStream};
use crate::rudp::connection::stream::{Buffered, MessageRef, Space};

impl SendStream {
    /// Acts as if all numbers below `number` were settled, in each space.
    #[cfg(test)]
    pub fn start_at(&mut self, number: u64) {
        for space in [&mut self.ordered, &mut self.unordered, &mut self.keyed] {
            (space.base, space.sent_end, space.acked_end) = (number, number, number);
        }
    }

    /// Recounts, entry by entry: adds to `reliable` and `sequenced`, and returns the bytes charged to the peer.
    /// Panics when a message is neither in flight nor queued, since it would never arrive.
    ///
    /// `queued` returns how often a message is queued, `flying` how often a frame is in flight.
    pub fn audit(
        &self,
        queued: &dyn Fn(MessageRef) -> usize,
        flying: &dyn Fn(MessageRef, Option<FragmentId>) -> usize,
        reliable: &mut Buffered,
        sequenced: &mut Buffered,
    ) -> usize {
        let mut charged = 0;
        let keyed = (self.keyed.base..).zip(&self.keyed.entries);
        let kept =
            keyed.filter_map(|(number, entry)| Some((entry.message.as_ref()?.delivery.key()?, number)));
        let indexed =
            self.by_key.0.iter().flat_map(|(key, numbers)| numbers.iter().map(|number| (*key, *number)));
        assert_eq!(kept.collect::<BTreeSet<_>>(), indexed.collect(), "what is kept is found by its key");
        for space in [Space::Ordered, Space::Unordered, Space::Keyed] {
            if let Some(large) = self.space(space).slow.holds_from {
                assert!(large >= self.space(space).sent_end, "nothing is held by what has begun to leave");
                assert!(self.is_unsettled(space, large), "nor by what is settled");
            }
            for (number, entry) in (self.space(space).base..).zip(&self.space(space).entries) {
                charged += entry.charged;
                let Some(message) = &entry.message else { continue };
                let kept = if message.delivery.is_reliable() { &mut *reliable } else { &mut *sequenced };
                *kept += message.buffered();
                let name = MessageRef { stream: self.id, space, number };
                assert_eq!(queued(name), usize::from(message.queued), "{name:?} waits once, or does not");
                let Some(fragments) = &message.fragments else {
                    let copies = message.copies as usize;
                    assert_eq!(flying(name, None), copies, "copies of {name:?}");
                    let is_held = self.space(space).slow.holds_from.is_some_and(|large| number > large);
                    assert!(message.queued || copies > 0 || is_held, "{name:?} is stuck");
                    continue;
                };
                let waits = |index| index >= fragments.next || fragments.resend.contains(&index);
                for index in (0..fragments.count).filter(|&index| !fragments.is_acked(index)) {
                    let fragment = FragmentId { index, count: fragments.count };
                    let comes = flying(name, Some(fragment)) > 0 || (message.queued && waits(index));
                    assert!(comes, "fragment {index} of {name:?} is stuck");
                }
            }
        }
        charged
    }
}
