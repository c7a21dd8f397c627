//! [`TransportParameters`]: the values that each end announces in the handshake.

use std::time::Duration;

use crate::base::{DecodeError, Reader, Wire, Writer};

/// Limits of one end, carried in the payloads of both Noise messages. Spec: HSK-9.
///
/// ```text
/// idle timeout (ms) | max ack delay (ms) | max datagram (B) | max message (B) | receive buffer (B)
/// ```
/// All are variable-length integers. A value out of its range is written as the nearest value in range.
/// Extensions may follow, each an id and up to 63 bytes, for capabilities of a later version. This version
/// supports none of them, writes none, and skips them. Spec: HSK-17.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportParameters {
    /// Silence after which the sender gives the connection up, 1,000 to 600,000 ms. The smaller of both ends'
    /// values applies.
    pub idle_timeout_ms: u32,
    /// Longest time that the sender delays an ack, 0 to 65 ms.
    pub max_ack_delay_ms: u32,
    /// Largest datagram that the sender accepts, 1,200 to 65,507 B.
    pub max_datagram_bytes: u32,
    /// Largest message that the sender accepts, 1,200 to 1,048,576 B.
    pub max_message_bytes: u32,
    /// The sender's buffer for messages that are incomplete or out of order, 65,536 to 2^30 B.
    pub receive_buffer_bytes: u32,
}

/// Largest datagram that this implementation accepts, as UDP payload in bytes.
pub const MAX_RECEIVED_DATAGRAM_BYTES: u32 = 9_216;

impl TransportParameters {
    /// Returns the idle timeout as a duration.
    pub const fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms as u64)
    }

    /// Returns the maximum ack delay as a duration.
    pub const fn max_ack_delay(&self) -> Duration {
        Duration::from_millis(self.max_ack_delay_ms as u64)
    }
}

impl Default for TransportParameters {
    /// Returns generous values for tests and tools; those of a connection follow from its configuration.
    fn default() -> Self {
        Self {
            idle_timeout_ms: 10_000,
            max_ack_delay_ms: 10,
            max_datagram_bytes: 1_472,
            max_message_bytes: 1 << 20,
            receive_buffer_bytes: 4 << 20,
        }
    }
}

/// A field's name, smallest and largest value.
struct Field(&'static str, u32, u32);

const IDLE_TIMEOUT: Field = Field("idle timeout", 1_000, 600_000);
const MAX_ACK_DELAY: Field = Field("max ack delay", 0, 65);
const MAX_DATAGRAM: Field = Field("max datagram", 1_200, 65_507);
const MAX_MESSAGE: Field = Field("max message", 1_200, 1 << 20);
const RECEIVE_BUFFER: Field = Field("receive buffer", 1 << 16, 1 << 30);

impl Field {
    fn read(&self, reader: &mut Reader) -> Result<u32, DecodeError> {
        reader.varint_in(self.0, self.1.into(), self.2.into())
    }

    fn write(&self, value: u32, writer: &mut Writer) {
        writer.varint(u64::from(value.clamp(self.1, self.2)));
    }
}

impl Wire for TransportParameters {
    /// Takes all remaining bytes, because extensions reach to the end.
    // spec: HSK-9
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let parameters = Self {
            idle_timeout_ms: IDLE_TIMEOUT.read(reader)?,
            max_ack_delay_ms: MAX_ACK_DELAY.read(reader)?,
            max_datagram_bytes: MAX_DATAGRAM.read(reader)?,
            max_message_bytes: MAX_MESSAGE.read(reader)?,
            receive_buffer_bytes: RECEIVE_BUFFER.read(reader)?,
        };
        pass_over_extensions(reader)?;
        Ok(parameters)
    }

    fn write(&self, writer: &mut Writer) {
        IDLE_TIMEOUT.write(self.idle_timeout_ms, writer);
        MAX_ACK_DELAY.write(self.max_ack_delay_ms, writer);
        MAX_DATAGRAM.write(self.max_datagram_bytes, writer);
        MAX_MESSAGE.write(self.max_message_bytes, writer);
        RECEIVE_BUFFER.write(self.receive_buffer_bytes, writer);
    }
}

/// Maximum length of an extension's content.
const MAX_EXTENSION_BYTES: usize = 63;

// spec: HSK-17
fn pass_over_extensions(reader: &mut Reader) -> Result<(), DecodeError> {
    let mut before = None;
    while !reader.is_empty() {
        let id = reader.varint("extension")?;
        if before.replace(id).is_some_and(|before| before >= id) {
            return Err(DecodeError::NotCanonical { what: "order of extensions" });
        }
        reader.prefixed("extension", 0, MAX_EXTENSION_BYTES)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::OutOfBounds;
    use bytes::Bytes;
    use proptest::prelude::*;

    // spec-test: HSK-9
    #[test]
    fn known_bytes() {
        let parameters = TransportParameters {
            idle_timeout_ms: 10_000,
            max_ack_delay_ms: 10,
            max_datagram_bytes: 1_472,
            max_message_bytes: 1 << 20,
            receive_buffer_bytes: 4 << 20,
        };
        let bytes = [0x67, 0x10, 0x0a, 0x45, 0xc0, 0x80, 0x10, 0, 0, 0x80, 0x40, 0, 0];
        assert_eq!(parameters.to_bytes(), &bytes[..]);
        assert_eq!(TransportParameters::from_bytes(Bytes::copy_from_slice(&bytes)), Ok(parameters));
    }

    #[test]
    fn out_of_range_is_refused_when_read_and_bent_when_written() {
        let wild = TransportParameters {
            idle_timeout_ms: 5,
            max_ack_delay_ms: 5_000,
            max_datagram_bytes: 0,
            max_message_bytes: u32::MAX,
            receive_buffer_bytes: 1,
        };
        let bent = TransportParameters::from_bytes(wild.to_bytes()).unwrap();
        assert_eq!(
            (bent.idle_timeout_ms, bent.max_ack_delay_ms, bent.max_datagram_bytes),
            (1_000, 65, 1_200)
        );
        let mut writer = Writer::new();
        writer.varint(999);
        assert!(matches!(
            TransportParameters::from_bytes(writer.finish()),
            Err(DecodeError::OutOfBounds(OutOfBounds::Range { what: "idle timeout", value: 999, .. }))
        ));
    }

    /// A peer of a later version announces extensions that this version does not know.
    // spec-test: HSK-17
    #[test]
    fn extensions_are_passed_over_when_they_have_their_form() {
        let parameters = TransportParameters::default();
        let read = |extensions: &[u8]| {
            TransportParameters::from_bytes([&parameters.to_bytes()[..], extensions].concat().into())
        };
        let longest = [&[0x41, 0, 63][..], &[9; 63]].concat();
        for legal in [&[0, 0][..], &[1, 2, 7, 7], &[0, 0, 1, 1, 9, 0x40, 0x40, 0], &longest] {
            assert_eq!(read(legal), Ok(parameters), "{legal:?}");
        }
        let order = Err(DecodeError::NotCanonical { what: "order of extensions" });
        assert_eq!(read(&[1, 0, 1, 0]), order, "twice");
        assert_eq!(read(&[2, 0, 1, 0]), order, "backwards");
        assert_eq!(read(&[1]), Err(DecodeError::Truncated { what: "extension", missing: 1 }));
        assert_eq!(read(&[1, 3, 0]), Err(DecodeError::Truncated { what: "extension", missing: 2 }));
        let long = [&[1, 0x40, 64][..], &[9; 64]].concat();
        assert!(matches!(
            read(&long),
            Err(DecodeError::OutOfBounds(OutOfBounds::Length { what: "extension", bytes: 64, .. }))
        ));
        assert_eq!(read(&[0x40, 1, 0]), Err(DecodeError::NotShortest { value: 1 }));
    }

    proptest! {
        /// Accepted bytes begin with the canonical form; the rest is extensions.
        #[test]
        fn what_is_accepted_is_canonical(bytes in prop::collection::vec(any::<u8>(), 0..24)) {
            if let Ok(parameters) = TransportParameters::from_bytes(bytes.clone().into()) {
                prop_assert!(bytes.starts_with(&parameters.to_bytes()));
            }
        }
    }
}
