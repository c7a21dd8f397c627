//! Packet numbers, and numbers that travel truncated.

use std::fmt;

/// Number of a sealed packet in one direction: from 0, each used once, below 2^62.
/// Spec: PKT-7.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PacketNumber(pub u64);

impl PacketNumber {
    /// The number after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for PacketNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for PacketNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PacketNumber({})", self.0)
    }
}

/// The number closest to `expected` whose low `bits` bits are `truncated` (RFC 9000 A.3).
///
/// `bits` is 8, 16 or 32. The result is within `2^bits / 2` of `expected`, and never negative.
pub fn expand(expected: u64, truncated: u64, bits: u32) -> u64 {
    let window = 1u64 << bits;
    let half = window / 2;
    let candidate = (expected & !(window - 1)) | truncated;
    if candidate.saturating_add(half) <= expected {
        candidate.saturating_add(window)
    } else if candidate > expected.saturating_add(half) && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The example of RFC 9000 A.3.
    // spec-test: PKT-8
    #[test]
    fn expansion_is_that_of_rfc_9000_a_3() {
        assert_eq!(expand(0xa82f_30ea + 1, 0x9b32, 16), 0xa82f_9b32);
    }

    proptest! {
        #[test]
        fn a_number_within_half_a_window_comes_back(
            expected in 0u64..1 << 61, offset in -0x7fi64..0x80, bits in prop::sample::select(vec![8u32, 16, 32])
        ) {
            let number = expected.saturating_add_signed(offset);
            prop_assert_eq!(expand(expected, number & ((1 << bits) - 1), bits), number);
        }
    }
}
