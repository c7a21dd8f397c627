//! [`Contents`]: the messages of which a packet's symbol is made.

use smallvec::SmallVec;

use super::symbol::is_repairable;
use crate::base::{StreamId, Truncated};
use crate::rudp::connection::stream::Space;
use crate::wire::frame::{MessageHead, Place};

/// The repairable messages of a packet, as runs of consecutive numbers.
#[derive(Debug, Default)]
pub struct Contents {
    runs: SmallVec<[Run; 2]>,
    /// There are more than [`MAX_RUNS`].
    is_cut: bool,
}

#[derive(Debug, Clone, Copy)]
struct Run {
    stream: StreamId,
    space: Space,
    /// The low 32 bits of the first number, or the low 8 bits if it `is_narrow`.
    first: u32,
    is_narrow: bool,
    count: u32,
}

/// Few packets have more than two. Those with more than this are within no other.
const MAX_RUNS: usize = 16;

impl Contents {
    /// Notes the messages of a packet, in its order.
    pub fn of(messages: impl Iterator<Item = MessageHead>) -> Self {
        let mut contents = Self::default();
        messages.filter(is_repairable).for_each(|head| contents.push(head));
        contents
    }

    fn push(&mut self, head: MessageHead) {
        let MessageHead::Numbered { place: Place { stream, number }, delivery } = head else { return };
        let Some(space) = Space::of(delivery) else { return };
        let (first, is_narrow) = match number {
            Truncated::Bits8(bits) => (u32::from(bits), true),
            Truncated::Bits16(bits) => (u32::from(bits), false),
            Truncated::Bits32(bits) => (bits, false),
        };
        let next = Run { stream, space, first, is_narrow, count: 1 };
        if let Some(last) = self.runs.last_mut().filter(|last| last.is_before(&next)) {
            last.count += 1;
        } else if self.runs.len() < MAX_RUNS {
            self.runs.push(next);
        } else {
            self.is_cut = true;
        }
    }

    /// Returns true if `other` holds all these messages, too, each run in one of its own.
    pub fn is_within(&self, other: &Self) -> bool {
        !self.is_cut && self.runs.iter().all(|run| other.runs.iter().any(|other| run.is_within(other)))
    }
}

impl Run {
    fn is_before(&self, next: &Self) -> bool {
        self.is_narrow == next.is_narrow && self.distance_to(next) == Some(self.count)
    }

    fn is_within(&self, other: &Self) -> bool {
        // In a wide run, 8 bits may be those of a number that was sent much later.
        let may_compare = !self.is_narrow || other.is_narrow;
        let skipped = other.distance_to(self).filter(|_| may_compare);
        skipped.is_some_and(|skipped| u64::from(skipped) + u64::from(self.count) <= u64::from(other.count))
    }

    /// Returns how many numbers later than this run the `other` one of the same space begins. The low 8 bits
    /// tell, since a narrow number is sent only while fewer than 64 are unsettled.
    // spec: STR-5
    fn distance_to(&self, other: &Self) -> Option<u32> {
        let mask = if self.is_narrow || other.is_narrow { 0xff } else { u32::MAX };
        let is_same_space = (self.stream, self.space) == (other.stream, other.space);
        is_same_space.then_some(other.first.wrapping_sub(self.first) & mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Delivery;

    const ORDERED: Delivery = Delivery::ReliableOrdered;

    fn of(messages: &[(u32, Truncated, Delivery)]) -> Contents {
        let head = |(stream, number, delivery): &(u32, Truncated, Delivery)| MessageHead::Numbered {
            place: Place { stream: StreamId(*stream), number: *number },
            delivery: *delivery,
        };
        Contents::of(messages.iter().map(head))
    }

    fn row(numbers: std::ops::RangeInclusive<u64>, wide: bool) -> Contents {
        let cut = |number| if wide { Truncated::bits32(number) } else { Truncated::bits8(number) };
        of(&numbers.map(|number| (1, cut(number), ORDERED)).collect::<Vec<_>>())
    }

    #[test]
    fn a_packet_is_within_one_that_holds_more() {
        assert!(row(7..=7, false).is_within(&row(7..=7, false)));
        assert!(row(7..=7, false).is_within(&row(6..=8, false)));
        assert!(row(254..=257, false).is_within(&row(253..=257, false)), "across the end of 8 bits");
        assert!(!row(6..=8, false).is_within(&row(7..=8, false)));
        assert!(!row(7..=9, false).is_within(&row(7..=8, false)));
        assert_eq!(row(250..=260, false).runs.len(), 1);
    }

    #[test]
    fn a_wide_number_may_become_narrow_but_not_the_other_way() {
        assert!(!row(1_000..=1_003, false).is_within(&row(999..=1_003, true)));
        assert!(!row(7..=7, false).is_within(&row(226..=334, true)), "263 has the same 8 bits");
        assert!(row(1_000..=1_003, true).is_within(&row(1_000..=1_003, false)));
        assert!(!row(1_000..=1_003, true).is_within(&row(1_256..=1_259, true)), "both tell 32 bits");
    }

    #[test]
    fn other_streams_and_spaces_are_other_messages() {
        let one = of(&[(1, Truncated::bits8(7), ORDERED)]);
        assert!(!one.is_within(&of(&[(2, Truncated::bits8(7), ORDERED)])));
        assert!(!one.is_within(&of(&[(1, Truncated::bits8(7), Delivery::ReliableUnordered)])));
        let two = of(&[(2, Truncated::bits8(3), ORDERED), (1, Truncated::bits8(7), ORDERED)]);
        assert!(one.is_within(&two) && !two.is_within(&one));
    }

    #[test]
    fn messages_that_no_repair_carries_are_not_compared() {
        let (latest, sequenced) = (Delivery::ReliableLatest { key: 1 }, Delivery::Sequenced { key: 1 });
        let both = of(&[(1, Truncated::bits8(1), sequenced), (1, Truncated::bits8(2), latest)]);
        assert!(both.is_within(&of(&[(1, Truncated::bits8(2), latest)])));
    }

    #[test]
    fn too_many_runs_are_within_nothing() {
        let apart = |count: u32| {
            of(&(0..count).map(|stream| (stream, Truncated::bits8(7), ORDERED)).collect::<Vec<_>>())
        };
        assert!(apart(16).is_within(&apart(16)));
        assert!(!apart(17).is_within(&apart(17)) && apart(16).is_within(&apart(17)));
        assert_eq!(apart(1_000).runs.len(), MAX_RUNS);
    }
}
