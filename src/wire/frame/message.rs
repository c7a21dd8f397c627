//! MESSAGE: a whole message.
//!
//! ```text
//! type 0x20 | 0x10 length elided | 0x08 number has 4 bytes | delivery mode (0..4)
//! [ stream (varint) | number (1 | 4) ]   not for Unreliable
//! [ key (2) ]                            Sequenced and ReliableLatest
//! [ length (varint) ]                    unless elided
//! payload
//! ```

use bytes::Bytes;

use super::{LengthField, MODE_BITS, WIDE_NUMBER, read_payload};
use crate::base::codec::varint_len;
use crate::base::{DecodeError, Reader, StreamId, Truncated, Writer};
use crate::wire::Delivery;

/// Bytes counted for a message in addition to its payload, wherever messages wait. Spec: REL-12, LIM-3.
pub const MESSAGE_OVERHEAD_BYTES: usize = 64;

/// A whole message. Spec: FRM-4.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Everything except the payload.
    pub head: MessageHead,
    /// The bytes that the application sent.
    pub payload: Bytes,
}

/// Place and delivery of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageHead {
    /// An unreliable message, which belongs to no stream and has no number.
    Unreliable,
    /// A message in one of the other modes.
    Numbered {
        /// Stream and number.
        place: Place,
        /// Any mode except [`Delivery::Unreliable`].
        delivery: Delivery,
    },
}

/// A message's place: its stream, and its number in that stream's number space for its mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The stream.
    pub stream: StreamId,
    /// The low 8 or 32 bits of the number.
    pub number: Truncated,
}

const TYPE: u8 = 0x20;

impl MessageHead {
    /// Returns the encoded length of the head and the length field for a payload of `length` bytes.
    pub fn encoded_len(&self, length: usize, length_field: LengthField) -> usize {
        let place = match self {
            Self::Unreliable => 0,
            Self::Numbered { place, delivery } => place.encoded_len(*delivery),
        };
        1 + place + length_field.encoded_len(length)
    }

    /// Appends the head and the length field; the caller appends the `length` bytes of the payload.
    pub fn write(&self, writer: &mut Writer, length: usize, length_field: LengthField) {
        let kind = TYPE | length_field.type_bit();
        match self {
            Self::Unreliable => writer.u8(kind),
            Self::Numbered { place, delivery } => {
                writer.u8(kind | place.wide_bit() | delivery.mode());
                place.write(writer);
                delivery.write_key(writer);
            }
        }
        length_field.write(writer, length);
    }
}

impl Message {
    pub(super) fn read(kind: u8, reader: &mut Reader) -> Result<Self, DecodeError> {
        let mode = kind & MODE_BITS;
        let wide = kind & WIDE_NUMBER != 0;
        let head = if mode == 0 {
            if wide {
                return Err(DecodeError::NotCanonical { what: "number width of an unreliable message" });
            }
            MessageHead::Unreliable
        } else {
            let place = Place::read(wide, reader)?;
            MessageHead::Numbered { place, delivery: Delivery::of_mode(mode, reader)? }
        };
        Ok(Self { head, payload: read_payload(kind, reader)? })
    }

    pub(super) fn write(&self, writer: &mut Writer, length_field: LengthField) {
        self.head.write(writer, self.payload.len(), length_field);
        writer.slice(&self.payload);
    }
}

impl Place {
    pub(super) fn encoded_len(&self, delivery: Delivery) -> usize {
        let key = if delivery.key().is_some() { 2 } else { 0 };
        varint_len(u64::from(self.stream.0)) + self.number.encoded_len() + key
    }

    pub(super) fn wide_bit(&self) -> u8 {
        if self.number.is_wide() { WIDE_NUMBER } else { 0 }
    }

    pub(super) fn read(wide: bool, reader: &mut Reader) -> Result<Self, DecodeError> {
        let stream = StreamId(reader.varint_u32("stream")?);
        Ok(Self { stream, number: Truncated::read_8_or_32(reader, wide, "message number")? })
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.varint(u64::from(self.stream.0));
        self.number.write(writer);
    }
}
