//! Clear packets: their common header, checksum and kinds.
//!
//! ```text
//! 'R' | 'P' | version u8 | kind u8 | crc u32 | body
//! ```
//! The CRC-32 covers the game's protocol id and the whole packet except itself. It filters out noise, other
//! protocols, other games and corruption. It provides no security: anybody can compute it.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Hello, HelloAck, Reject, Retry};
use crate::base::{DecodeError, Reader, Wire, Writer};

/// The version of the protocol that this crate implements. Spec: PKT-2.
pub const PROTOCOL_VERSION: u8 = 1;

const MAGIC: [u8; 2] = *b"RP";

/// Returns true if the first byte of a datagram is that of a clear packet; false for an empty datagram.
// spec: PKT-1
pub fn is_clear(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0x80 == 0)
}

/// The 8 bytes by which a client recognizes an answer to its own HELLO. Spec: HSK-3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Echo(pub [u8; 8]);

/// Kind of a clear packet. Spec: PKT-3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ClearKind {
    /// The client requests a connection.
    Hello = 1,
    /// The server accepts.
    HelloAck = 2,
    /// The server asks for the HELLO again, with a cookie.
    Retry = 3,
    /// The server refuses.
    Reject = 4,
}

impl ClearKind {
    fn from_byte(byte: u8) -> Result<Self, DecodeError> {
        match byte {
            1 => Ok(Self::Hello),
            2 => Ok(Self::HelloAck),
            3 => Ok(Self::Retry),
            4 => Ok(Self::Reject),
            _ => Err(DecodeError::Unknown { what: "clear packet kind", value: u64::from(byte) }),
        }
    }
}

/// The first 8 bytes of a clear packet, the same in every version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClearHeader {
    /// Version of the protocol in which the rest is encoded.
    pub version: u8,
    /// Kind of the packet, as defined by that version.
    pub kind: u8,
    bytes: [u8; Self::BYTES],
}

impl ClearHeader {
    /// Length of the header.
    pub const BYTES: usize = 8;

    /// Reads the header of a whole packet and verifies its checksum.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::Unknown`] for another magic, and
    /// [`DecodeError::Checksum`].
    // spec: PKT-4
    pub fn read(protocol_id: u64, packet: &Bytes) -> Result<(Self, Reader), DecodeError> {
        let mut reader = Reader::new(packet.clone());
        let bytes: [u8; Self::BYTES] = reader.array("clear header")?;
        let [m0, m1, version, kind, crc @ ..] = bytes;
        if [m0, m1] != MAGIC {
            let value = u64::from(u16::from_be_bytes([m0, m1]));
            return Err(DecodeError::Unknown { what: "magic", value });
        }
        let body = packet.slice(Self::BYTES..);
        if u32::from_be_bytes(crc) != checksum(protocol_id, version, kind, &body) {
            return Err(DecodeError::Checksum);
        }
        Ok((Self { version, kind, bytes }, reader))
    }

    /// Returns the echo for a REJECT that reports another version: these 8 bytes, which are all that both
    /// versions can read. Spec: HSK-4.
    pub const fn echo(&self) -> Echo {
        Echo(self.bytes)
    }
}

/// A clear packet of this version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClearPacket {
    /// See [`Hello`].
    Hello(Hello),
    /// See [`HelloAck`].
    HelloAck(HelloAck),
    /// See [`Retry`].
    Retry(Retry),
    /// See [`Reject`].
    Reject(Reject),
}

impl ClearPacket {
    /// Reads a whole packet.
    ///
    /// # Errors
    /// [`DecodeError`] if it is not the canonical form of a packet of this version and protocol id.
    pub fn read(protocol_id: u64, packet: &Bytes) -> Result<Self, DecodeError> {
        let (header, reader) = ClearHeader::read(protocol_id, packet)?;
        if header.version != PROTOCOL_VERSION {
            return Err(DecodeError::Unknown { what: "version", value: u64::from(header.version) });
        }
        Self::read_body(header, reader)
    }

    /// Reads what follows the header of a packet of this version.
    ///
    /// # Errors
    /// [`DecodeError`] if the body is not valid for its kind.
    pub fn read_body(header: ClearHeader, mut reader: Reader) -> Result<Self, DecodeError> {
        let packet = match ClearKind::from_byte(header.kind)? {
            ClearKind::Hello => Self::Hello(Hello::read(&mut reader)?),
            ClearKind::HelloAck => Self::HelloAck(HelloAck::read(&mut reader)?),
            ClearKind::Retry => Self::Retry(Retry::read(&mut reader)?),
            ClearKind::Reject => Self::Reject(Reject::read(&mut reader)?),
        };
        reader.end()?;
        Ok(packet)
    }

    /// Appends the whole packet, header included, to an empty `out`.
    pub fn write(&self, protocol_id: u64, out: &mut BytesMut) {
        let mut body = Writer::with_capacity(super::HELLO_BYTES);
        let kind = match self {
            Self::Hello(packet) => {
                packet.write(&mut body);
                ClearKind::Hello
            }
            Self::HelloAck(packet) => {
                packet.write(&mut body);
                ClearKind::HelloAck
            }
            Self::Retry(packet) => {
                packet.write(&mut body);
                ClearKind::Retry
            }
            Self::Reject(packet) => {
                packet.write(&mut body);
                ClearKind::Reject
            }
        };
        write_packet(protocol_id, PROTOCOL_VERSION, kind as u8, body.as_slice(), out);
    }

    /// Encodes the whole packet.
    pub fn to_bytes(&self, protocol_id: u64) -> Bytes {
        let mut out = BytesMut::new();
        self.write(protocol_id, &mut out);
        out.freeze()
    }
}

fn write_packet(protocol_id: u64, version: u8, kind: u8, body: &[u8], out: &mut BytesMut) {
    out.put_slice(&MAGIC);
    out.put_u8(version);
    out.put_u8(kind);
    out.put_u32(checksum(protocol_id, version, kind, body));
    out.put_slice(body);
}

/// Returns the CRC-32 (IEEE) of the protocol id and the packet without the checksum itself.
fn checksum(protocol_id: u64, version: u8, kind: u8, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&protocol_id.to_be_bytes());
    crc.update(&MAGIC);
    crc.update(&[version, kind]);
    crc.update(body);
    crc.finalize()
}

/// Builds a packet with any version, kind and body, and a correct checksum.
#[cfg(test)]
pub(crate) fn forge(protocol_id: u64, version: u8, kind: u8, body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    write_packet(protocol_id, version, kind, body, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::super::{COOKIE_BYTES, Cookie, HELLO_BYTES};
    use super::*;
    use crate::wire::RejectCode;
    use proptest::prelude::*;

    const GAME: u64 = 0x5261_6c6c_7970_6f69;

    fn reject() -> ClearPacket {
        ClearPacket::Reject(Reject { echo: Echo(*b"echoecho"), code: RejectCode::Full, version: 1 })
    }

    /// The check value of CRC-32/ISO-HDLC, and a REJECT packet byte by byte.
    // spec-test: PKT-4
    #[test]
    fn known_bytes() {
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
        let bytes = reject().to_bytes(GAME);
        assert_eq!(&bytes[..4], b"RP\x01\x04");
        assert_eq!(&bytes[8..], b"echoecho\x05\x01");
        let mut covered = GAME.to_be_bytes().to_vec();
        covered.extend_from_slice(&bytes[..4]);
        covered.extend_from_slice(&bytes[8..]);
        assert_eq!(bytes[4..8], crc32fast::hash(&covered).to_be_bytes());
    }

    // spec-test: PKT-4
    #[test]
    fn any_flipped_bit_and_another_game_are_refused() {
        let bytes = reject().to_bytes(GAME);
        assert_eq!(ClearPacket::read(GAME, &bytes), Ok(reject()));
        assert_eq!(ClearPacket::read(GAME + 1, &bytes), Err(DecodeError::Checksum));
        for bit in 0..bytes.len() * 8 {
            let mut changed = BytesMut::from(&bytes[..]);
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(ClearPacket::read(GAME, &changed.freeze()).is_err(), "bit {bit}");
        }
    }

    // spec-test: PKT-2
    #[test]
    fn another_version_is_told_with_its_header() {
        let bytes = forge(GAME, 2, 9, b"what that version means by it").freeze();
        let unknown = DecodeError::Unknown { what: "version", value: 2 };
        assert_eq!(ClearPacket::read(GAME, &bytes), Err(unknown));
        let (header, _) = ClearHeader::read(GAME, &bytes).unwrap();
        assert_eq!((header.version, header.kind), (2, 9));
        assert_eq!(header.echo().0, bytes[..8]);
    }

    #[test]
    fn first_bytes_of_clear_and_sealed_packets_differ() {
        assert!(is_clear(&reject().to_bytes(GAME)));
        assert!(!is_clear(&[0x80]));
        assert!(!is_clear(&[]));
    }

    fn echo() -> impl Strategy<Value = Echo> {
        any::<[u8; 8]>().prop_map(Echo)
    }

    fn bytes(length: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Bytes> {
        prop::collection::vec(any::<u8>(), length).prop_map(Bytes::from)
    }

    fn packet() -> impl Strategy<Value = ClearPacket> {
        let cookie = any::<[u8; COOKIE_BYTES]>().prop_map(Cookie);
        let hello = (bytes(1..=900), prop::option::of(cookie.clone()), bytes(48..=160));
        let codes = prop::sample::select(RejectCode::ALL.to_vec());
        prop_oneof![
            hello.prop_map(|(token, cookie, noise)| ClearPacket::Hello(Hello { token, cookie, noise })),
            (echo(), bytes(48..=104))
                .prop_map(|(echo, noise)| ClearPacket::HelloAck(HelloAck { echo, noise })),
            (echo(), cookie).prop_map(|(echo, cookie)| ClearPacket::Retry(Retry { echo, cookie })),
            (echo(), codes, any::<u8>()).prop_map(|(echo, code, version)| ClearPacket::Reject(Reject {
                echo,
                code,
                version
            })),
        ]
    }

    proptest! {
        #[test]
        fn a_packet_is_read_as_it_was_written(packet in packet(), game: u64) {
            let bytes = packet.to_bytes(game);
            if matches!(packet, ClearPacket::Hello(_)) {
                prop_assert_eq!(bytes.len(), HELLO_BYTES);
            } else {
                prop_assert!(bytes.len() <= 120);
            }
            prop_assert_eq!(ClearPacket::read(game, &bytes), Ok(packet));
        }

        /// Arbitrary bodies behind a correct checksum.
        #[test]
        fn what_is_accepted_is_canonical(kind in 0u8..6, body in prop::collection::vec(any::<u8>(), 0..140)) {
            let bytes = forge(GAME, 1, kind, &body).freeze();
            if let Ok(packet) = ClearPacket::read(GAME, &bytes) {
                prop_assert_eq!(packet.to_bytes(GAME), bytes);
            }
        }

        #[test]
        fn noise_is_refused(noise in bytes(0..=200)) {
            prop_assert!(ClearPacket::read(GAME, &noise).is_err());
        }

        #[test]
        fn a_changed_hello_is_refused_or_canonical(packet in packet(), at in 8usize..1_200, to: u8) {
            let mut body = packet.to_bytes(GAME)[8..].to_vec();
            if let Some(byte) = body.get_mut(at - 8) {
                *byte = to;
            }
            let bytes = forge(GAME, 1, 1, &body).freeze();
            if let Ok(packet) = ClearPacket::read(GAME, &bytes) {
                prop_assert_eq!(packet.to_bytes(GAME), bytes);
            }
        }
    }
}
