//! Messages whose bytes follow from their identity, so that no message can be mistaken for another and a
//! single wrong byte is detected.

use bytes::{BufMut, Bytes, BytesMut};

use crate::testing::checker::Life;

/// One end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum End {
    Client,
    Server,
}

/// Identifies one message: the `serial`th that an end of a connection sends, on any stream and in any mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) life: Life,
    pub(super) from: End,
    pub(super) serial: u32,
    /// Whether it is the last one that its sender sends on the stream.
    pub(super) is_last: bool,
}

/// A payload of at least this length begins with its name; a shorter one is identified by all its bytes.
pub(super) const NAME_BYTES: usize = 8;

const FROM_SERVER: u32 = 1 << 31;
const LAST: u32 = 1 << 30;

impl End {
    /// Returns the opposite end.
    pub(super) fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

impl Name {
    /// Returns the name that `payload` begins with, if it is long enough for one.
    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let (life, rest) = payload.split_first_chunk()?;
        let (serial, _) = rest.split_first_chunk()?;
        let serial = u32::from_be_bytes(*serial);
        Some(Self {
            life: Life(u32::from_be_bytes(*life)),
            from: if serial & FROM_SERVER == 0 { End::Client } else { End::Server },
            serial: serial & !(FROM_SERVER | LAST),
            is_last: serial & LAST != 0,
        })
    }

    /// Returns the message's payload in the run of `seed`, `bytes` long.
    pub(super) fn payload(self, seed: u64, bytes: usize) -> Bytes {
        let mut payload = BytesMut::with_capacity(bytes);
        if bytes >= NAME_BYTES {
            payload.put_u32(self.life.0);
            payload.put_u32(self.word());
        }
        // Each position has a different word, so that swapped fragments are detected.
        let mut state = seed ^ (u64::from(self.life.0) << 32 | u64::from(self.word()));
        while payload.len() < bytes {
            state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            let word = (state ^ (state >> 29)).to_be_bytes();
            let missing = (bytes - payload.len()).min(word.len());
            payload.extend_from_slice(word.get(..missing).unwrap_or_default());
        }
        payload.freeze()
    }

    fn word(self) -> u32 {
        self.serial
            | if self.from == End::Server { FROM_SERVER } else { 0 }
            | if self.is_last { LAST } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_tells_its_name() {
        for (from, is_last) in [(End::Client, false), (End::Server, true)] {
            let name = Name { life: Life(3), from, serial: 700, is_last };
            let payload = name.payload(9, 5_000);
            assert_eq!((payload.len(), Name::read(&payload)), (5_000, Some(name)));
            assert_eq!(Name::read(&payload[..7]), None);
        }
    }

    #[test]
    fn no_two_payloads_and_no_two_places_are_alike() {
        let name = |serial| Name { life: Life(3), from: End::Client, serial, is_last: false };
        let payload = name(1).payload(9, 4_000);
        assert_ne!(payload[8..], name(2).payload(9, 4_000)[8..]);
        assert_ne!(payload[8..], name(1).payload(8, 4_000)[8..]);
        assert_ne!(payload[8..1_008], payload[1_008..2_008]);
        assert_ne!(name(1).payload(9, 7), name(2).payload(9, 7));
    }
}
