//! [`Ecn`]: the ECN mark of an IP packet.

/// The ECN field of the IP packet that carries a datagram (RFC 3168 section 5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Ecn {
    /// Not ECT: the sender ignores marks, or the path has cleared them.
    #[default]
    NotEct,
    /// ECT(1): equivalent to ECT(0). This implementation never sends it.
    Ect1,
    /// ECT(0): a growing queue may mark the packet CE instead of dropping it.
    Ect0,
    /// CE: a queue on the path has grown.
    Ce,
}

impl Ecn {
    /// Returns the mark in the two low bits of an IPv4 TOS or an IPv6 traffic class.
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 0b11 {
            0b00 => Self::NotEct,
            0b01 => Self::Ect1,
            0b10 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// Returns the two bits of the mark.
    pub const fn bits(self) -> u8 {
        self as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 3168 section 5, figure 1.
    #[test]
    fn marks_are_the_two_low_bits() {
        let marks = [Ecn::NotEct, Ecn::Ect1, Ecn::Ect0, Ecn::Ce];
        assert_eq!([0, 1, 2, 3].map(Ecn::from_bits), marks);
        assert_eq!(marks.map(Ecn::bits), [0, 1, 2, 3]);
        assert_eq!(Ecn::from_bits(0b1011_1010), Ecn::Ect0, "the others are another field's");
    }
}
