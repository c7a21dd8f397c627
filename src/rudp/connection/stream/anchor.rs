//! [`Anchor`]: the reference for expanding truncated message numbers.
//!
//! A one-byte number is safe only when sender and receiver mean the same 256 numbers. The sender uses one
//! byte while fewer than 64 numbers are unsettled. The receiver expands it relative to the space's position
//! `at`, which lies within 64 of the number for a packet that arrives in order. When a late packet arrives,
//! the position may have moved. The anchor remembers since which packet it has moved by less than 128, and
//! one-byte numbers in older packets are not read at all: 64 + 128 + 64 = 256.

use super::NARROW_SPAN;
use crate::base::{PacketNumber, Truncated};

/// The position of a number space, and the packets since which it has moved little. Spec: STR-6.
#[derive(Debug, Default)]
pub struct Anchor {
    at: u64,
    /// The position when it was last marked, and the largest packet received by then.
    last: Mark,
    before: Mark,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    at: u64,
    /// Packets above this number arrived while the position was at least `at`.
    after: Option<PacketNumber>,
}

/// The position is marked each time it has moved by this much.
const MARK_EVERY: u64 = 64;
/// One-byte numbers of a late packet are read only if the position has moved by less than this since packets
/// of its age arrived.
const MAX_MOVED: u64 = 128;

impl Anchor {
    /// Creates an anchor at position 0.
    pub const fn new() -> Self {
        const MARK: Mark = Mark { at: 0, after: None };
        Self { at: 0, last: MARK, before: MARK }
    }

    /// Creates an anchor that has always been at this position.
    #[cfg(test)]
    pub fn starting_at(at: u64) -> Self {
        let mark = Mark { at, after: None };
        Self { at, last: mark, before: mark }
    }

    pub fn at(&self) -> u64 {
        self.at
    }

    /// Advances to `at`; `largest` is the largest packet received, the current one included.
    pub fn advance(&mut self, at: u64, largest: PacketNumber) {
        self.at = self.at.max(at);
        if self.at - self.last.at >= MARK_EVERY {
            self.before = self.last;
            self.last = Mark { at: self.at, after: Some(largest) };
        }
    }

    /// Returns true when one-byte numbers of `packet` are unambiguous.
    // spec: STR-6
    pub fn is_near(&self, packet: PacketNumber) -> bool {
        let since = |mark: &Mark| mark.after.is_none_or(|after| packet > after);
        since(&self.last) || (since(&self.before) && self.at - self.before.at < MAX_MOVED)
    }

    /// Returns the full number.
    pub fn expand(&self, number: Truncated) -> u64 {
        match number {
            Truncated::Bits8(_) => number.expand(self.at.saturating_sub(NARROW_SPAN)),
            _ => number.expand(self.at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec-test: STR-6
    #[test]
    fn numbers_around_the_position_come_back() {
        let mut anchor = Anchor::default();
        for at in [0u64, 1, 63, 64, 200, 5_000, 1 << 40] {
            anchor.advance(at, PacketNumber(at));
            for number in at.saturating_sub(191)..at + 64 {
                assert_eq!(anchor.expand(Truncated::bits8(number)), number, "position {at}");
            }
        }
    }

    // spec-test: STR-6, STR-10
    #[test]
    fn a_packet_from_before_the_position_moved_far_is_not_near() {
        let mut anchor = Anchor::default();
        for packet in 1..=300 {
            anchor.advance(packet, PacketNumber(packet));
        }
        assert!(anchor.is_near(PacketNumber(301)));
        assert!(anchor.is_near(PacketNumber(299)));
        assert!(!anchor.is_near(PacketNumber(100)));
        let mut jumped = Anchor::default();
        jumped.advance(400, PacketNumber(50));
        assert!(!jumped.is_near(PacketNumber(49)), "everything moved at once");
        assert!(jumped.is_near(PacketNumber(51)));
    }

    /// Checks every number that a correct sender may put into one byte of a packet that is near.
    // spec-test: STR-6
    #[test]
    fn whatever_is_near_is_read_right() {
        let mut anchor = Anchor::default();
        let mut position_at = vec![0u64];
        for packet in 1u64..2_000 {
            let step = packet.wrapping_mul(2_654_435_761) % 7;
            anchor.advance(anchor.at() + step, PacketNumber(packet));
            position_at.push(anchor.at());
            for late in packet.saturating_sub(200)..packet {
                // The receiver's position when `late` was due lies within the sender's unsettled numbers.
                let then = position_at[usize::try_from(late).unwrap().saturating_sub(1)];
                if !anchor.is_near(PacketNumber(late)) {
                    continue;
                }
                for number in then.saturating_sub(NARROW_SPAN - 1)..then + NARROW_SPAN {
                    assert_eq!(anchor.expand(Truncated::bits8(number)), number);
                }
            }
        }
    }
}
