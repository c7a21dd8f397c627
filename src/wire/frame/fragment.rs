//! FRAGMENT: a part of a message that does not fit in a datagram.
//!
//! ```text
//! type 0x40 | 0x10 length elided | 0x08 number has 4 bytes | delivery mode (2..4)
//! stream (varint) | number (1 | 4) | [ key (2), ReliableLatest ]
//! count (varint) | total (varint, bytes) | index (varint) | [ length (varint) ] | payload
//! ```

use bytes::Bytes;

use super::{LengthField, MODE_BITS, Place, read_payload};
use crate::base::codec::varint_len;
use crate::base::{DecodeError, Reader, Writer};
use crate::wire::Delivery;

/// A part of a message. Spec: FRM-5.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fragment {
    /// Everything except the payload.
    pub head: FragmentHead,
    /// Exactly [`FragmentHead::payload_bytes`] bytes.
    pub payload: Bytes,
}

/// Message and position of a fragment. Every fragment of a message repeats its count and total.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FragmentHead {
    /// Stream and number of the message.
    pub place: Place,
    /// A reliable mode.
    pub delivery: Delivery,
    /// Number of fragments of the message, 2 to [`MAX_FRAGMENTS`].
    pub count: u32,
    /// Length of the message in bytes.
    pub total: u32,
    /// Position of this fragment, from 0.
    pub index: u32,
}

/// Maximum number of fragments of one message.
pub const MAX_FRAGMENTS: u32 = 1_024;

/// Length of the largest fragmented message in bytes.
const MAX_TOTAL: u64 = 1 << 20;

const TYPE: u8 = 0x40;

impl FragmentHead {
    /// Returns the length of every fragment except the last: total / count, rounded up.
    pub fn unit(&self) -> usize {
        self.total.div_ceil(self.count) as usize
    }

    /// Returns the offset of this fragment's bytes in the message.
    pub fn offset(&self) -> usize {
        self.unit() * self.index as usize
    }

    /// Returns the length of this fragment in bytes.
    pub fn payload_bytes(&self) -> usize {
        if self.index + 1 == self.count { self.total as usize - self.offset() } else { self.unit() }
    }

    /// Returns the encoded length of the head and the length field.
    pub fn encoded_len(&self, length_field: LengthField) -> usize {
        1 + self.place.encoded_len(self.delivery)
            + varint_len(u64::from(self.count))
            + varint_len(u64::from(self.total))
            + varint_len(u64::from(self.index))
            + length_field.encoded_len(self.payload_bytes())
    }

    /// Appends the head and the length field; the caller appends the payload.
    pub fn write(&self, writer: &mut Writer, length_field: LengthField) {
        writer.u8(TYPE | length_field.type_bit() | self.place.wide_bit() | self.delivery.mode());
        self.place.write(writer);
        self.delivery.write_key(writer);
        writer.varint(u64::from(self.count));
        writer.varint(u64::from(self.total));
        writer.varint(u64::from(self.index));
        length_field.write(writer, self.payload_bytes());
    }

    /// Checks that every fragment, including the last, has at least one byte.
    fn check(&self) -> Result<(), DecodeError> {
        let before_last = self.unit() as u64 * u64::from(self.count - 1);
        if before_last < u64::from(self.total) {
            Ok(())
        } else {
            Err(DecodeError::NotCanonical { what: "fragment count" })
        }
    }
}

impl Fragment {
    pub(super) fn read(kind: u8, reader: &mut Reader) -> Result<Self, DecodeError> {
        let mode = kind & MODE_BITS;
        if !(2..=4).contains(&mode) {
            return Err(DecodeError::Unknown { what: "fragment mode", value: mode.into() });
        }
        let place = Place::read(kind & super::WIDE_NUMBER != 0, reader)?;
        let delivery = Delivery::of_mode(mode, reader)?;
        let count = reader.varint_in("fragment count", 2, u64::from(MAX_FRAGMENTS))?;
        let total = reader.varint_in("message bytes", u64::from(count), MAX_TOTAL)?;
        let index = reader.varint_in("fragment index", 0, u64::from(count) - 1)?;
        let head = FragmentHead { place, delivery, count, total, index };
        head.check()?;
        let payload = read_payload(kind, reader)?;
        if payload.len() == head.payload_bytes() {
            Ok(Self { head, payload })
        } else {
            Err(DecodeError::NotCanonical { what: "fragment length" })
        }
    }

    pub(super) fn write(&self, writer: &mut Writer, length_field: LengthField) {
        self.head.write(writer, length_field);
        writer.slice(&self.payload);
    }
}
