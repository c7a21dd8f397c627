//! The header of sealed packets: everything outside the seal.
//!
//! ```text
//! flags (1) | [ connection id (4), client → server only ] | packet number (2 | 4) | sealed frames | tag (16)
//! flags: 0x80 always | 0x40 key phase | 0x20 number has 4 bytes | 0x1f zero
//! ```

use crate::base::{ConnectionId, DecodeError, Truncated, Writer};

/// A sealed packet's header, authenticated with the packet. Spec: PKT-5.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SealedHeader {
    /// The key-phase bit.
    pub key_phase: bool,
    /// Identifies the connection to the server; `None` from server to client.
    pub connection: Option<ConnectionId>,
    /// The low 16 or 32 bits of the packet number.
    pub number: Truncated,
}

/// Which end of a connection sent a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// Bit set in the first byte of every sealed packet and of no clear one.
pub const SEALED: u8 = 0x80;
const KEY_PHASE: u8 = 0x40;
const WIDE_NUMBER: u8 = 0x20;
const RESERVED: u8 = 0x1f;

impl SealedHeader {
    /// Reads the header of a `packet` that was sent in this `direction`. Returns it with its length.
    ///
    /// # Errors
    /// [`DecodeError`] if the packet is too short or a reserved bit is set.
    pub fn read(packet: &[u8], direction: Direction) -> Result<(Self, usize), DecodeError> {
        let (&flags, rest) =
            packet.split_first().ok_or(DecodeError::Truncated { what: "flags", missing: 1 })?;
        if flags & SEALED == 0 || flags & RESERVED != 0 {
            return Err(DecodeError::Unknown { what: "flags", value: u64::from(flags) });
        }
        let (connection, rest) = match direction {
            Direction::ToServer => {
                let (id, rest) = split(rest, "connection id")?;
                (Some(ConnectionId(u32::from_be_bytes(id))), rest)
            }
            Direction::ToClient => (None, rest),
        };
        let (number, rest) = if flags & WIDE_NUMBER == 0 {
            let (bits, rest) = split(rest, "packet number")?;
            (Truncated::Bits16(u16::from_be_bytes(bits)), rest)
        } else {
            let (bits, rest) = split(rest, "packet number")?;
            (Truncated::Bits32(u32::from_be_bytes(bits)), rest)
        };
        let header = Self { key_phase: flags & KEY_PHASE != 0, connection, number };
        Ok((header, packet.len() - rest.len()))
    }

    /// Returns the connection that a client's packet names, reading only the header.
    pub fn connection_of(packet: &[u8]) -> Option<ConnectionId> {
        Self::read(packet, Direction::ToServer).ok().and_then(|(header, _)| header.connection)
    }

    /// Appends the header.
    pub fn write(&self, writer: &mut Writer) {
        let phase = if self.key_phase { KEY_PHASE } else { 0 };
        let wide = if self.number.is_wide() { WIDE_NUMBER } else { 0 };
        writer.u8(SEALED | phase | wide);
        if let Some(connection) = self.connection {
            writer.u32(connection.0);
        }
        self.number.write(writer);
    }

    /// Returns the length of the header.
    pub fn encoded_len(&self) -> usize {
        1 + if self.connection.is_some() { 4 } else { 0 } + self.number.encoded_len()
    }
}

fn split<'a, const N: usize>(
    bytes: &'a [u8],
    what: &'static str,
) -> Result<([u8; N], &'a [u8]), DecodeError> {
    match bytes.split_first_chunk::<N>() {
        Some((chunk, rest)) => Ok((*chunk, rest)),
        None => Err(DecodeError::Truncated { what, missing: N - bytes.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // spec-test: PKT-5
        #[test]
        fn an_accepted_header_is_canonical(
            bytes in prop::collection::vec(any::<u8>(), 0..12),
            direction in prop::sample::select(&[Direction::ToServer, Direction::ToClient]),
        ) {
            if let Ok((header, length)) = SealedHeader::read(&bytes, direction) {
                let mut writer = Writer::new();
                header.write(&mut writer);
                prop_assert_eq!(writer.as_slice(), &bytes[..length]);
                prop_assert_eq!(header.encoded_len(), length);
            }
        }
    }

    // spec-test: PKT-5
    #[test]
    fn a_reserved_bit_is_refused() {
        assert!(SealedHeader::read(&[0x81, 0, 0], Direction::ToClient).is_err());
        assert!(SealedHeader::read(&[0x80, 0, 0], Direction::ToClient).is_ok());
        assert!(SealedHeader::read(&[0x80, 0, 0], Direction::ToServer).is_err());
    }
}
