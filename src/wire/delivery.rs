//! Delivery modes of messages.

use crate::base::{DecodeError, Reader, Writer};

/// How a message is delivered; chosen for each message. Spec: STR-2.
///
/// Both keyed modes share one key space, whoever the recipients are. Once a newer message with a key has
/// arrived, in either mode and at any recipient, the older messages of its sender with that key are obsolete.
/// Messages that still wait may be dropped for a newer one even before that. Messages that must not replace
/// each other need different keys. Spec: STR-7.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Delivery {
    /// May be lost or reordered, but never duplicated. Fits one datagram.
    Unreliable,
    /// May be lost. Of one key, only messages newer than all that have arrived are delivered. Fits one
    /// datagram.
    Sequenced {
        /// Scope of "newer", within the stream and sender.
        key: u16,
    },
    /// Arrives exactly once, in any order, unless the server refuses it, or the membership of the sender or
    /// of the receiver ends first.
    ReliableUnordered,
    /// As [`Delivery::ReliableUnordered`], but in the order of sending on its stream.
    ReliableOrdered,
    /// The newest message of a key arrives; older ones may be dropped for it.
    ReliableLatest {
        /// Scope of "newest", within the stream and sender.
        key: u16,
    },
}

impl Delivery {
    /// Returns the mode's number on the wire, 0 to 4.
    pub const fn mode(self) -> u8 {
        match self {
            Self::Unreliable => 0,
            Self::Sequenced { .. } => 1,
            Self::ReliableUnordered => 2,
            Self::ReliableOrdered => 3,
            Self::ReliableLatest { .. } => 4,
        }
    }

    /// Returns the key of a keyed mode.
    pub const fn key(self) -> Option<u16> {
        match self {
            Self::Sequenced { key } | Self::ReliableLatest { key } => Some(key),
            _ => None,
        }
    }

    /// Returns true if the transport retransmits the message when it is lost.
    pub const fn is_reliable(self) -> bool {
        matches!(self, Self::ReliableUnordered | Self::ReliableOrdered | Self::ReliableLatest { .. })
    }

    /// Returns the delivery for a mode, and reads its key if it has one.
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
