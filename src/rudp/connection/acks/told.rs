//! [`Told`]: what the peer knows of what arrived.

/// What acks have told the peer, as far as it has confirmed them.
#[derive(Debug, Default)]
pub struct Told {
    /// Largest number named by an ack that the peer is known to have received.
    largest: u64,
    /// The peer knows what arrived below this number. A packet that arrives late lowers it again.
    below: u64,
    late: Option<Late>,
    /// Those that arrived while the peer did not know of the `late` ones. They are waited for in turn, since
    /// otherwise no wait would end where packets are late again and again.
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

    /// One of ten packets comes late, every second of them before an earlier one, and each ack is confirmed
    /// 35 packets later.
    // spec-test: ACK-10
    #[test]
    fn packets_that_are_late_in_every_round_trip_are_known_after_a_while() {
        let mut told = Told::default();
        let mut late = Vec::new();
        for largest in (40..1_000).step_by(10) {
            let confirmed = largest - 35;
            told.on_confirmed(confirmed);
            assert!(largest < 140 || told.knows(largest - 100), "after {largest}: {told:?}");
            let number = if largest % 20 == 0 { largest - 2 } else { largest - 15 };
            told.on_late(number, largest);
            late.push((number, largest));
            for (number, _) in late.iter().filter(|(_, by_then)| confirmed <= *by_then) {
                assert!(!told.knows(*number), "no ack that names {number} is confirmed: {told:?}");
            }
        }
        told.on_confirmed(990);
        assert!(!told.knows(975), "this ack may have left before it came");
        told.on_confirmed(991);
        assert!(told.knows(991));
    }
}
