//! `broadcast` and `message`: the hot path, without request id and result.

use std::sync::Arc;

use crate::base::{DecodeError, MemberId, OutOfBounds, Reader, Wire, Writer};
use crate::wire::{Body, Delivery};

/// Bits of a hot-path command's flags: the delivery mode, and whether the sender is excluded.
const MODE: u8 = 0x07;
const TO_OTHERS: u8 = 0x08;

/// Members that a broadcast reaches.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum To {
    /// Every member, including the sender.
    All,
    /// Every member except the sender.
    Others,
}

/// A payload to the members of a session. Spec: CMD-20.
///
/// ```text
/// 0x20 | flags u8: 0000 o mmm | counter u16 | [key u16] | payload to the end
/// ```
/// `mmm` is the delivery mode, `o` excludes the sender; modes 1 and 4 have a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broadcast {
    /// Delivery to the members.
    pub delivery: Delivery,
    /// Members that receive it.
    pub to: To,
    /// Low 16 bits of the sender's count of hot-path commands in the session.
    pub counter: u16,
    /// The payload.
    pub body: Body,
}

impl Broadcast {
    pub(super) const KIND: u8 = 0x20;

    /// Reads everything after the kind.
    pub(super) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (flags, counter) = (reader.u8("flags")?, reader.u16("counter")?);
        if flags & !(MODE | TO_OTHERS) != 0 {
            return Err(DecodeError::NotCanonical { what: "flags" });
        }
        let delivery = Delivery::of_mode(flags & MODE, reader)?;
        let to = if flags & TO_OTHERS == 0 { To::All } else { To::Others };
        Ok(Self { delivery, to, counter, body: Body::new(delivery, reader.rest())? })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        write_broadcast_head(self.delivery, self.to, self.counter, writer);
        writer.slice(self.body.bytes());
    }
}

/// A payload to some members of a session. Spec: CMD-21.
///
/// ```text
/// 0x21 | flags u8: 00000 mmm | counter u16 | [key u16] | recipients | payload to the end
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Delivery to the recipients.
    pub delivery: Delivery,
    /// Low 16 bits of the sender's count of hot-path commands in the session.
    pub counter: u16,
    /// Members that receive it.
    pub to: Recipients,
    /// The payload.
    pub body: Body,
}

impl Message {
    pub(super) const KIND: u8 = 0x21;

    /// Reads everything after the kind.
    pub(super) fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (flags, counter) = (reader.u8("flags")?, reader.u16("counter")?);
        if flags & !MODE != 0 {
            return Err(DecodeError::NotCanonical { what: "flags" });
        }
        let delivery = Delivery::of_mode(flags, reader)?;
        let to = Recipients::read(reader)?;
        Ok(Self { delivery, counter, to, body: Body::new(delivery, reader.rest())? })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        write_message_head(self.delivery, self.counter, &self.to, writer);
        writer.slice(self.body.bytes());
    }
}

/// Writes the part of a [`Broadcast`] before the payload.
pub fn write_broadcast_head(delivery: Delivery, to: To, counter: u16, writer: &mut Writer) {
    let to = match to {
        To::All => 0,
        To::Others => TO_OTHERS,
    };
    write_common_head(Broadcast::KIND, delivery, to, counter, writer);
}

/// Writes the part of a [`Message`] before the payload.
pub fn write_message_head(delivery: Delivery, counter: u16, to: &Recipients, writer: &mut Writer) {
    write_common_head(Message::KIND, delivery, 0, counter, writer);
    to.write(writer);
}

fn write_common_head(kind: u8, delivery: Delivery, flags: u8, counter: u16, writer: &mut Writer) {
    writer.u8(kind);
    writer.u8(delivery.mode() | flags);
    writer.u16(counter);
    delivery.write_key(writer);
}

/// 1 to 1,024 members, ids strictly increasing. Spec: CMD-21.
///
/// ```text
/// count varint | member ids, varints
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recipients(Arc<[MemberId]>);

impl Recipients {
    /// Maximum number of recipients of one message.
    pub const MAX: usize = 1_024;

    const WHAT: &'static str = "number of recipients";

    /// Sorts, checks and wraps a list of members.
    ///
    /// # Errors
    /// [`OutOfBounds::Range`] when there are none or more than [`Recipients::MAX`],
    /// [`OutOfBounds::Repeated`] when one is named twice.
    pub fn new(mut members: Vec<MemberId>) -> Result<Self, OutOfBounds> {
        members.sort_unstable();
        if !members.is_sorted_by(|a, b| a < b) {
            return Err(OutOfBounds::Repeated { what: "recipients" });
        }
        OutOfBounds::check_count(Self::WHAT, members.len(), 1, Self::MAX)?;
        Ok(Self(members.into()))
    }

    /// Returns the members by id.
    pub fn as_slice(&self) -> &[MemberId] {
        &self.0
    }

    /// Returns the members by id, as a shared slice.
    pub fn into_shared(self) -> Arc<[MemberId]> {
        self.0
    }
}

impl Wire for Recipients {
    fn read(reader: &mut Reader) -> Result<Self, DecodeError> {
        let members: Vec<MemberId> = reader.list(Self::WHAT, 1, Self::MAX)?;
        if members.is_sorted_by(|a, b| a < b) {
            Ok(Self(members.into()))
        } else {
            Err(DecodeError::NotCanonical { what: "order of the recipients" })
        }
    }

    fn write(&self, writer: &mut Writer) {
        writer.list(&self.0);
    }
}
