//! [`Told`]: what the peer knows of what arrived.

/// What acks have told the peer, as far as it has confirmed them.
#[derive(Debug, Default)]
pub struct Told {
    /// Largest number named by an ack that the peer is known to have received.
    largest: u64,
    /// The peer knows what arrived below this number. A packet that arrives late lowers it again.
    below: u64,
    late: Option<Late>,
}

/// The packets that arrived late. The peer may not know of them until an ack beyond `largest_by_then` is
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
        let smallest = self.late.map_or(number, |late| late.smallest.min(number));
        self.late = Some(Late { smallest, largest_by_then: largest });
        self.below = self.below.min(smallest);
    }

    /// Notes that the peer has received an ack up to `largest`.
    pub fn on_confirmed(&mut self, largest: u64) {
        self.largest = self.largest.max(largest);
        self.late = self.late.filter(|late| largest <= late.largest_by_then);
        let below = self.late.map_or(self.largest + 1, |late| late.smallest.min(self.largest + 1));
        self.below = self.below.max(below);
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
