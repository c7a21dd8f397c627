//! [`Ecn`]: how an IP packet is marked.

/// The ECN field of the IP packet that a datagram travels in. RFC 3168 section 5.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Ecn {
    /// Not ECT: its sender takes no notice of marks, or its path has cleared them.
    #[default]
    NotEct,
    /// ECT(1): means what ECT(0) means; nothing here sends it.
    Ect1,
    /// ECT(0): a queue that grows may mark it CE instead of dropping it.
    Ect0,
    /// CE: a queue on the way has grown.
    Ce,
}

impl Ecn {
    /// The mark that the two low bits of an IPv4 TOS or an IPv6 traffic class say.
    pub const fn from_bits(bits: u8) -> Self {
        match bits & 0b11 {
            0b00 => Self::NotEct,
            0b01 => Self::Ect1,
            0b10 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// Its bits.
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
