//! How a message is delivered.

use crate::base::{DecodeError, Reader, Writer};

/// How a message is delivered; chosen for each message. Spec: STR-2.
///
/// A key is one for both modes that have one, whoever the recipients are: once a newer message of a key has arrived,
/// in either mode and to anybody, the older ones of its sender are old, and what still waits may be dropped for a
/// newer one before. What must not replace each other needs keys of its own. Spec: STR-7.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Delivery {
    /// May be lost, may overtake others; never twice. Fits one datagram.
    Unreliable,
    /// May be lost; of one key only what is newer than all that arrived. Fits one datagram.
    Sequenced {
        /// Scope of "newer", within stream and sender.
        key: u16,
    },
    /// Arrives exactly once, in any order, unless the server refuses it, the receiver leaves or the session ends first.
    ReliableUnordered,
    /// The same, in the order of sending on its stream.
    ReliableOrdered,
    /// The newest of a key arrives; an older one may be dropped for it.
    ReliableLatest {
        /// Scope of "newest", within stream and sender.
        key: u16,
    },
}

impl Delivery {
    /// The mode's number on the wire, 0 to 4.
    pub const fn mode(self) -> u8 {
        match self {
            Self::Unreliable => 0,
            Self::Sequenced { .. } => 1,
            Self::ReliableUnordered => 2,
            Self::ReliableOrdered => 3,
            Self::ReliableLatest { .. } => 4,
        }
    }

    /// The key of the keyed modes.
    pub const fn key(self) -> Option<u16> {
        match self {
            Self::Sequenced { key } | Self::ReliableLatest { key } => Some(key),
            _ => None,
        }
    }

    /// True when the transport resends what is lost.
    pub const fn is_reliable(self) -> bool {
        matches!(self, Self::ReliableUnordered | Self::ReliableOrdered | Self::ReliableLatest { .. })
    }

    /// The delivery of a mode: reads the key that it has, if it has one.
    ///
    /// # Errors
    /// [`DecodeError::Unknown`] for a mode above 4, [`DecodeError::Truncated`].
    pub fn of_mode(mode: u8, reader: &mut Reader) -> Result<Self, DecodeError> {
        match mode {
            0 => Ok(Self::Unreliable),
            1 => Ok(Self::Sequenced { key: reader.u16("key")? }),
            2 => Ok(Self::ReliableUnordered),
            3 => Ok(Self::ReliableOrdered),
            4 => Ok(Self::ReliableLatest { key: reader.u16("key")? }),
            _ => Err(DecodeError::Unknown { what: "delivery mode", value: u64::from(mode) }),
        }
    }

    /// Appends the key, if the mode has one.
    pub fn write_key(self, writer: &mut Writer) {
        if let Some(key) = self.key() {
            writer.u16(key);
        }
    }
}
