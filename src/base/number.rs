//! Packet numbers, and numbers that are sent truncated.

use std::fmt;

use super::codec::{DecodeError, Reader, VARINT_MAX, Writer};

/// Number of a sealed packet in one direction, from 0. Each number is used once and is below 2^62.
/// Spec: PKT-7.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PacketNumber(pub u64);

impl PacketNumber {
    /// The largest number that may be used. Spec: PKT-7.
    pub const MAX: Self = Self(VARINT_MAX);

    /// Returns the number after this one.
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

/// Returns the number closest to `expected` whose low `bits` bits are `truncated` (RFC 9000 A.3).
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

/// The low bits of a number, as sent. The receiver infers the other bits from earlier numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Truncated {
    /// The low 8 bits.
    Bits8(u8),
    /// The low 16 bits.
    Bits16(u16),
    /// The low 32 bits.
    Bits32(u32),
}

#[allow(clippy::cast_possible_truncation, reason = "truncation is the purpose")]
impl Truncated {
    /// Truncates `number` to its low 8 bits.
    pub const fn bits8(number: u64) -> Self {
        Self::Bits8(number as u8)
    }

    /// Truncates `number` to its low 16 bits.
    pub const fn bits16(number: u64) -> Self {
        Self::Bits16(number as u16)
    }

    /// Truncates `number` to its low 32 bits.
    pub const fn bits32(number: u64) -> Self {
        Self::Bits32(number as u32)
    }
}

impl Truncated {
    /// Returns the number closest to `expected` among those with these low bits.
    pub fn expand(self, expected: u64) -> u64 {
        match self {
            Self::Bits8(bits) => expand(expected, u64::from(bits), 8),
            Self::Bits16(bits) => expand(expected, u64::from(bits), 16),
            Self::Bits32(bits) => expand(expected, u64::from(bits), 32),
        }
    }

    /// Returns true for the 4-byte form.
    pub const fn is_wide(self) -> bool {
        matches!(self, Self::Bits32(_))
    }

    /// Returns the encoded length in bytes.
    pub const fn encoded_len(self) -> usize {
        match self {
            Self::Bits8(_) => 1,
            Self::Bits16(_) => 2,
            Self::Bits32(_) => 4,
        }
    }

    /// Reads the 4-byte form if `wide`, otherwise the 1-byte form.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn read_8_or_32(reader: &mut Reader, wide: bool, what: &'static str) -> Result<Self, DecodeError> {
        if wide { reader.u32(what).map(Self::Bits32) } else { reader.u8(what).map(Self::Bits8) }
    }

    /// Reads the 4-byte form if `wide`, otherwise the 2-byte form.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn read_16_or_32(reader: &mut Reader, wide: bool, what: &'static str) -> Result<Self, DecodeError> {
        if wide { reader.u32(what).map(Self::Bits32) } else { reader.u16(what).map(Self::Bits16) }
    }

    /// Appends the bits.
    pub fn write(self, writer: &mut Writer) {
        match self {
            Self::Bits8(bits) => writer.u8(bits),
            Self::Bits16(bits) => writer.u16(bits),
            Self::Bits32(bits) => writer.u32(bits),
        }
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
