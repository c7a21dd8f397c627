//! [`Told`]: what the peer knows of what arrived.

/// What acks have told the peer, as far as it has confirmed them.
#[derive(Debug, Default)]
pub struct Told {
    /// Largest number named by an ack that the peer is known to have received.
    largest: u64,
    /// The peer knows what arrived below this number. A packet that arrives late lowers it again.
    below: u64,
    late: Option<Late>,
    /// Those that arrived while the peer did not know of the `late` ones, so that these do not become more
    /// for ever where packets are late again and again.
    later: Option<Late>,
}

/// Packets that arrived late. The peer may not know of them until an ack beyond `largest_by_then` is
/// confirmed.
#[derive(Debug, Clone, Copy)]
struct Late {
    smallest: u64,
    /// Largest number received when the last of them came.
    largest_by_then: u64,
}

impl Told {
    /// Notes that packet `number` arrived when `largest` already had.
    pub fn on_late(&mut self, number: u64, largest: u64) {
        let late = if self.late.is_some() { &mut self.later } else { &mut self.late };
        let smallest = late.map_or(number, |late| late.smallest.min(number));
        *late = Some(Late { smallest, largest_by_then: largest });
        self.below = self.below.min(number);
    }

    /// Notes that the peer has received an ack up to `largest`.
    pub fn on_confirmed(&mut self, largest: u64) {
        self.largest = self.largest.max(largest);
        while self.late.is_some_and(|late| largest > late.largest_by_then) {
            self.late = self.later.take();
        }
        let unknown = [self.late, self.later].into_iter().flatten().map(|late| late.smallest).min();
        let known = self.largest + 1;
        self.below = self.below.max(unknown.map_or(known, |unknown| unknown.min(known)));
    }

    /// Returns whether the peer knows of a run of numbers that ends with `last`.
    pub fn knows(&self, last: u64) -> bool {
        last < self.below
    }

    /// Returns whether the peer could misread the low 16 bits of `last`, the largest number received.
    // spec: ACK-5
    pub fn needs_wide(&self, last: u64) -> bool {
        last - self.largest >= 1 << 15
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of ten packets comes two places late, and each ack is confirmed 15 packets later.
    // spec-test: ACK-10
    #[test]
    fn packets_that_are_late_in_every_round_trip_are_told_once_each() {
        let mut told = Told::default();
        for largest in (20..1_000).step_by(10) {
            told.on_confirmed(largest - 15);
            assert!(largest < 40 || told.knows(largest - 15), "after {largest}: {told:?}");
            told.on_late(largest - 2, largest);
            assert!(!told.knows(largest - 2), "no ack has named it");
        }
        told.on_confirmed(990);
        assert!(!told.knows(988), "this ack may have left before it came");
        told.on_confirmed(991);
        assert!(told.knows(991));
    }
}
