//! [`Body`]: what a member sends to others, carried as it is.

use std::fmt;

use bytes::{Bytes, BytesMut};

use super::Delivery;
use crate::base::DecodeError;

/// The payload of a broadcast or message: bytes that only the app understands. Spec: MSG-2.
///
/// At most 64 KiB; unreliable and sequenced ones fit a datagram of any path and have at most
/// 1,024 B. A slice of the datagram or message it came in, or [a copy](Self::copied_to); shared by all who
/// receive it.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(Bytes);

impl Body {
    /// Most bytes of a reliable payload.
    pub const MAX_BYTES: usize = 64 << 10;

    /// Most bytes of an unreliable or sequenced payload.
    pub const MAX_DATAGRAM_BYTES: usize = 1_024;

    /// Most bytes of a payload that is delivered so.
    pub const fn max_bytes(delivery: Delivery) -> usize {
        if delivery.is_reliable() { Self::MAX_BYTES } else { Self::MAX_DATAGRAM_BYTES }
    }

    /// Checks and keeps a payload that is to be delivered so.
    ///
    /// # Errors
    /// [`DecodeError::Length`] above [`Body::max_bytes`].
    pub fn new(delivery: Delivery, bytes: Bytes) -> Result<Self, DecodeError> {
        let max = Self::max_bytes(delivery);
        if bytes.len() <= max {
            return Ok(Self(bytes));
        }
        Err(DecodeError::Length { what: Self::WHAT, bytes: bytes.len() as u64, min: 0, max: max as u64 })
    }

    /// The field's name in errors.
    pub(crate) const WHAT: &'static str = "payload";

    /// The same payload, in the memory of `block`, which is empty.
    #[must_use]
    pub fn copied_to(&self, block: &mut BytesMut) -> Self {
        block.extend_from_slice(&self.0);
        Self(block.split().freeze())
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The bytes, taken.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} B)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec-test: MSG-2
    #[test]
    fn its_length_is_bounded_by_the_delivery() {
        let of = |bytes| Bytes::from(vec![0; bytes]);
        assert!(Body::new(Delivery::ReliableOrdered, of(65_536)).is_ok());
        assert!(Body::new(Delivery::ReliableLatest { key: 1 }, of(65_537)).is_err());
        assert!(Body::new(Delivery::Unreliable, of(1_024)).is_ok());
        assert!(Body::new(Delivery::Sequenced { key: 1 }, of(1_025)).is_err());
    }
}
