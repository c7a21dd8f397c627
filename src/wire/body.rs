//! [`Body`]: the payload that a member sends to others, passed on unchanged.

use std::fmt;

use bytes::{Bytes, BytesMut};

use super::Delivery;
use crate::base::OutOfBounds;

/// The payload of a broadcast or message: bytes that only the application interprets. Spec: MSG-2.
///
/// At most 64 KiB. Unreliable and sequenced payloads have at most 1,024 B, which fits a datagram on any path.
/// A body is a slice of the datagram or message that it arrived in, or [a copy](Self::copied_to), and is
/// shared by all receivers.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(Bytes);

impl Body {
    /// Maximum length of a reliable payload in bytes.
    pub const MAX_BYTES: usize = 64 << 10;

    /// Maximum length of an unreliable or sequenced payload in bytes.
    pub const MAX_DATAGRAM_BYTES: usize = 1_024;

    /// Returns the maximum length of a payload with this delivery, in bytes.
    pub const fn max_bytes(delivery: Delivery) -> usize {
        if delivery.is_reliable() { Self::MAX_BYTES } else { Self::MAX_DATAGRAM_BYTES }
    }

    /// Checks the length of a payload with this delivery and wraps it.
    ///
    /// # Errors
    /// [`OutOfBounds::Length`] above [`Body::max_bytes`].
    pub fn new(delivery: Delivery, bytes: Bytes) -> Result<Self, OutOfBounds> {
        OutOfBounds::check_length(Self::WHAT, bytes.len(), 0, Self::max_bytes(delivery))?;
        Ok(Self(bytes))
    }

    /// The field's name in errors.
    pub(crate) const WHAT: &'static str = "payload";

    /// Returns a copy of the payload in the memory of `block`, which must be empty.
    #[must_use]
    pub fn copied_to(&self, block: &mut BytesMut) -> Self {
        block.extend_from_slice(&self.0);
        Self(block.split().freeze())
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// Returns the bytes and consumes the payload.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }

    /// Returns the number of bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if there are no bytes.
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
