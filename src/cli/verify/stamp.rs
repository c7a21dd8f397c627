//! [`Stamp`]: the identification that a checked message carries.

use bytes::{BufMut, Bytes, BytesMut};

/// Identifies one message and when it was sent; the rest of the payload is filled so that any altered byte is
/// detected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Number of the sender in the run, from 0.
    pub sender: u32,
    /// Number of the message from that sender, from 0.
    pub sequence: u32,
    /// When `send` was called, in microseconds since the run's origin.
    pub sent_micros: u64,
    /// False for warm-up messages, which are checked but not counted.
    pub counted: bool,
}

/// Why a payload is not one that the run sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StampError {
    /// Shorter than a stamp.
    #[error("the payload has {0} bytes, fewer than its stamp")]
    Short(usize),
    /// A byte differs from what the stamp implies.
    #[error("the payload differs from what was sent")]
    Altered,
}

impl Stamp {
    /// Bytes of a stamp: the smallest payload that can be checked.
    pub const BYTES: usize = 17;

    /// Returns the payload of `size` bytes, at least [`Stamp::BYTES`], that carries this stamp.
    pub fn payload(&self, size: usize) -> Bytes {
        let mut payload = BytesMut::with_capacity(size.max(Self::BYTES));
        payload.put_u32(self.sender);
        payload.put_u32(self.sequence);
        payload.put_u64(self.sent_micros);
        payload.put_u8(u8::from(self.counted));
        payload.extend(self.fill().take(size.saturating_sub(Self::BYTES)));
        payload.freeze()
    }

    /// Reads and checks a payload.
    ///
    /// # Errors
    /// [`StampError`] if it is not, byte for byte, what [`Stamp::payload`] returns.
    pub fn read(payload: &[u8]) -> Result<Self, StampError> {
        let (stamp, fill) =
            payload.split_first_chunk::<{ Self::BYTES }>().ok_or(StampError::Short(payload.len()))?;
        let [a, b, c, d, e, f, g, h, time @ .., counted] = *stamp;
        let stamp = Self {
            sender: u32::from_be_bytes([a, b, c, d]),
            sequence: u32::from_be_bytes([e, f, g, h]),
            sent_micros: u64::from_be_bytes(time),
            counted: counted == 1,
        };
        if counted > 1 || !fill.iter().copied().eq(stamp.fill().take(fill.len())) {
            return Err(StampError::Altered);
        }
        Ok(stamp)
    }

    /// Returns bytes derived from sender and sequence, without a short period.
    fn fill(&self) -> impl Iterator<Item = u8> + use<> {
        let mut state = u64::from(self.sender) << 32 | u64::from(self.sequence);
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STAMP: Stamp = Stamp { sender: 7, sequence: 9, sent_micros: 11, counted: true };

    #[test]
    fn a_payload_is_never_smaller_than_its_stamp() {
        assert_eq!(STAMP.payload(0).len(), Stamp::BYTES);
        assert_eq!(STAMP.payload(64).len(), 64);
        assert_eq!(Stamp::read(&STAMP.payload(0)), Ok(STAMP));
        assert_eq!(Stamp::read(&[0; 16]), Err(StampError::Short(16)));
    }

    proptest! {
        #[test]
        fn a_stamp_is_read_as_written(sender: u32, sequence: u32, sent_micros: u64, counted: bool, size in 0_usize..200) {
            let stamp = Stamp { sender, sequence, sent_micros, counted };
            prop_assert_eq!(Stamp::read(&stamp.payload(size)), Ok(stamp));
        }

        #[test]
        fn an_altered_payload_is_not_taken_for_what_was_sent(at in 0_usize..64, flip in 1_u8..) {
            let mut payload = STAMP.payload(64).to_vec();
            payload[at] ^= flip;
            prop_assert_ne!(Stamp::read(&payload), Ok(STAMP));
        }
    }
}
