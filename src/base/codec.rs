//! [`Reader`] and [`Writer`]: bytes to values and back, total on any input.
//!
//! Integers are big-endian. Integers of variable length follow RFC 9000 §16, and only their
//! shortest form is accepted, so that what is accepted re-encodes to the same bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Why bytes are not what they should be. Spec: WIR-3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The input ends inside a value.
    #[error("input ends early: {missing} more bytes wanted for {what}")]
    Truncated {
        /// The value that is cut.
        what: &'static str,
        /// Bytes that are missing at least.
        missing: usize,
    },
    /// Bytes follow where nothing may.
    #[error("{bytes} bytes follow the end")]
    TrailingBytes {
        /// How many.
        bytes: usize,
    },
    /// A variable-length integer is longer than it needs to be.
    #[error("integer {value} is not in its shortest form")]
    NotShortest {
        /// The integer.
        value: u64,
    },
    /// A number is outside of what its field allows.
    #[error("{what} is {value}, allowed is {min} to {max}")]
    OutOfRange {
        /// The field.
        what: &'static str,
        /// What was read.
        value: u64,
        /// Smallest allowed.
        min: u64,
        /// Largest allowed.
        max: u64,
    },
    /// A text or a block of bytes is shorter or longer than its field allows.
    #[error("{what} of {bytes} bytes, allowed are {min} to {max}")]
    Length {
        /// The field.
        what: &'static str,
        /// Its length.
        bytes: u64,
        /// Smallest length allowed.
        min: u64,
        /// Largest length allowed.
        max: u64,
    },
    /// Something stands twice where it may stand once.
    #[error("one of the {what} is there twice")]
    Repeated {
        /// The list.
        what: &'static str,
    },
    /// A type, kind or code that the protocol does not have.
    #[error("unknown {what} {value}")]
    Unknown {
        /// The field.
        what: &'static str,
        /// What was read.
        value: u64,
    },
    /// Text is not UTF-8.
    #[error("{what} is not UTF-8")]
    NotUtf8 {
        /// The field.
        what: &'static str,
    },
    /// The bytes hold a value, but in a form that its writer may not choose.
    #[error("{what} is not canonical")]
    NotCanonical {
        /// The field.
        what: &'static str,
    },
    /// The checksum of a clear packet is wrong for this protocol id.
    #[error("checksum does not match")]
    Checksum,
}

/// A value with one encoding. `read(write(v)) == v`, and `write(read(b)) == b`.
pub trait Wire: Sized {
    /// Reads one value from the front of `reader`.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not the canonical form of a legal value.
    fn read(reader: &mut Reader) -> Result<Self, DecodeError>;

    /// Appends the value.
    fn write(&self, writer: &mut Writer);

    /// The value's bytes.
    fn to_bytes(&self) -> Bytes {
        let mut writer = Writer::new();
        self.write(&mut writer);
        writer.finish()
    }

    /// Reads one value that fills `bytes`.
    ///
    /// # Errors
    /// Those of [`Wire::read`], and [`DecodeError::TrailingBytes`].
    fn from_bytes(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = Self::read(&mut reader)?;
        reader.end()?;
        Ok(value)
    }
}

/// Largest variable-length integer, 2^62 − 1 (RFC 9000 §16).
pub const VARINT_MAX: u64 = (1 << 62) - 1;

/// Bytes that `value` takes as a variable-length integer: 1, 2, 4 or 8.
pub const fn varint_len(value: u64) -> usize {
    match value {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        0x4000..=0x3fff_ffff => 4,
        _ => 8,
    }
}

/// Takes values from the front of a datagram; byte strings are slices of it, not copies.
#[derive(Debug, Clone)]
pub struct Reader {
    bytes: Bytes,
}

impl Reader {
    /// Reads `bytes` from their start.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    /// Bytes that are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// True when nothing is left.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next byte, which stays.
    pub fn peek(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// [`DecodeError::TrailingBytes`].
    pub fn end(&self) -> Result<(), DecodeError> {
        match self.bytes.len() {
            0 => Ok(()),
            bytes => Err(DecodeError::TrailingBytes { bytes }),
        }
    }

    /// Takes one byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], as every method here that takes bytes.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        self.need(1, what)?;
        Ok(self.bytes.get_u8())
    }

    /// Takes a big-endian `u16`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        self.need(2, what)?;
        Ok(self.bytes.get_u16())
    }

    /// Takes a big-endian `u32`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.need(4, what)?;
        Ok(self.bytes.get_u32())
    }

    /// Takes a big-endian `u64`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        self.need(8, what)?;
        Ok(self.bytes.get_u64())
    }

    /// Takes a big-endian `i64` in two's complement.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn i64(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        self.need(8, what)?;
        Ok(self.bytes.get_i64())
    }

    /// Takes a variable-length integer, RFC 9000 §16, shortest form only. Spec: WIR-2.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], [`DecodeError::NotShortest`].
    pub fn varint(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        let first = self.u8(what)?;
        let more = (1usize << (first >> 6)) - 1;
        self.need(more, what)?;
        let mut value = u64::from(first & 0x3f);
        for _ in 0..more {
            value = value << 8 | u64::from(self.bytes.get_u8());
        }
        if varint_len(value) == more + 1 { Ok(value) } else { Err(DecodeError::NotShortest { value }) }
    }

    /// Takes a variable-length integer of `min..=max`.
    ///
    /// # Errors
    /// Those of [`Reader::varint`], and [`DecodeError::OutOfRange`].
    pub fn varint_in(&mut self, what: &'static str, min: u64, max: u64) -> Result<u64, DecodeError> {
        let value = self.varint(what)?;
        if (min..=max).contains(&value) {
            Ok(value)
        } else {
            Err(DecodeError::OutOfRange { what, value, min, max })
        }
    }

    /// Takes a variable-length integer that fits 32 bits.
    ///
    /// # Errors
    /// Those of [`Reader::varint_in`].
    pub fn varint_u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        let value = self.varint(what)?;
        u32::try_from(value).map_err(|_| DecodeError::OutOfRange {
            what,
            value,
            min: 0,
            max: u64::from(u32::MAX),
        })
    }

    /// Takes a length or count of `min..=max` as a variable-length integer.
    ///
    /// # Errors
    /// Those of [`Reader::varint_in`].
    pub fn count(&mut self, what: &'static str, min: usize, max: usize) -> Result<usize, DecodeError> {
        let value = self.varint_in(what, min as u64, max as u64)?;
        usize::try_from(value).map_err(|_| DecodeError::OutOfRange {
            what,
            value,
            min: min as u64,
            max: max as u64,
        })
    }

    /// Takes exactly `N` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        self.need(N, what)?;
        let mut array = [0; N];
        self.bytes.copy_to_slice(&mut array);
        Ok(array)
    }

    /// Takes `length` bytes as a slice of the input.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn bytes(&mut self, what: &'static str, length: usize) -> Result<Bytes, DecodeError> {
        self.need(length, what)?;
        Ok(self.bytes.split_to(length))
    }

    /// Takes a length as a variable-length integer of `min..=max`, then so many bytes.
    ///
    /// # Errors
    /// Those of [`Reader::varint`] and [`Reader::bytes`], and [`DecodeError::Length`].
    pub fn prefixed(&mut self, what: &'static str, min: usize, max: usize) -> Result<Bytes, DecodeError> {
        let bytes = self.varint(what)?;
        let length = usize::try_from(bytes).ok().filter(|length| (min..=max).contains(length));
        let (min, max) = (min as u64, max as u64);
        self.bytes(what, length.ok_or(DecodeError::Length { what, bytes, min, max })?)
    }

    /// Takes text of `min..=max` bytes behind its length.
    ///
    /// # Errors
    /// Those of [`Reader::prefixed`], and [`DecodeError::NotUtf8`].
    pub fn text(&mut self, what: &'static str, min: usize, max: usize) -> Result<String, DecodeError> {
        let bytes = self.prefixed(what, min, max)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| DecodeError::NotUtf8 { what })
    }

    /// Takes all that is left.
    pub fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes)
    }

    fn need(&self, length: usize, what: &'static str) -> Result<(), DecodeError> {
        match length.checked_sub(self.bytes.len()) {
            None | Some(0) => Ok(()),
            Some(missing) => Err(DecodeError::Truncated { what, missing }),
        }
    }
}

/// Appends values to a growing buffer.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: BytesMut,
}

impl From<BytesMut> for Writer {
    /// Appends behind what `bytes` holds.
    fn from(bytes: BytesMut) -> Self {
        Self { bytes }
    }
}

impl Writer {
    /// An empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty buffer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: BytesMut::with_capacity(capacity) }
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// True when nothing is written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Forgets what was written; its memory stays.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// What was written so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// What was written.
    pub fn finish(self) -> Bytes {
        self.bytes.freeze()
    }

    /// What was written, still mutable.
    pub fn into_inner(self) -> BytesMut {
        self.bytes
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes.put_u8(value);
    }

    /// Appends a big-endian `u16`.
    pub fn u16(&mut self, value: u16) {
        self.bytes.put_u16(value);
    }

    /// Appends a big-endian `u32`.
    pub fn u32(&mut self, value: u32) {
        self.bytes.put_u32(value);
    }

    /// Appends a big-endian `u64`.
    pub fn u64(&mut self, value: u64) {
        self.bytes.put_u64(value);
    }

    /// Appends a big-endian `i64` in two's complement.
    pub fn i64(&mut self, value: i64) {
        self.bytes.put_i64(value);
    }

    /// Appends a variable-length integer in its shortest form, RFC 9000 §16.
    ///
    /// # Panics
    /// When `value` is above [`VARINT_MAX`]: every field of the protocol is bounded below it.
    #[allow(clippy::cast_possible_truncation, reason = "each arm holds what fits it")]
    pub fn varint(&mut self, value: u64) {
        match varint_len(value) {
            1 => self.bytes.put_u8(value as u8),
            2 => self.bytes.put_u16(value as u16 | 0x4000),
            4 => self.bytes.put_u32(value as u32 | 0x8000_0000),
            _ => {
                assert!(value <= VARINT_MAX, "{value} is no variable-length integer");
                self.bytes.put_u64(value | 0xc000_0000_0000_0000);
            }
        }
    }

    /// Appends bytes as they are.
    pub fn slice(&mut self, bytes: &[u8]) {
        self.bytes.put_slice(bytes);
    }

    /// Appends a length, then the bytes.
    pub fn prefixed(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn varint_of(bytes: &[u8]) -> Result<u64, DecodeError> {
        let mut reader = Reader::new(Bytes::copy_from_slice(bytes));
        let value = reader.varint("test")?;
        reader.end()?;
        Ok(value)
    }

    // spec-test: WIR-1
    #[test]
    fn integers_of_fixed_width_are_big_endian() {
        let mut writer = Writer::new();
        writer.u16(0x0102);
        writer.u32(0x0304_0506);
        writer.u64(0x0708_090a_0b0c_0d0e);
        writer.i64(-2);
        let bytes = writer.finish();
        let ascending: Vec<u8> = (1..=14).collect();
        assert_eq!(bytes, [&ascending[..], &[0xff; 7], &[0xfe]].concat());
        let mut reader = Reader::new(bytes);
        assert_eq!(reader.u16("test"), Ok(0x0102));
        assert_eq!(reader.u32("test"), Ok(0x0304_0506));
        assert_eq!(reader.u64("test"), Ok(0x0708_090a_0b0c_0d0e));
        assert_eq!(reader.i64("test"), Ok(-2));
    }

    /// The examples of RFC 9000 A.1.
    // spec-test: WIR-2
    #[test]
    fn varints_are_those_of_rfc_9000_a_1() {
        let examples: [(&[u8], u64); 4] = [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
        ];
        for (bytes, value) in examples {
            assert_eq!(varint_of(bytes), Ok(value));
            let mut writer = Writer::new();
            writer.varint(value);
            assert_eq!(writer.as_slice(), bytes);
        }
        assert_eq!(varint_of(&[0x40, 0x25]), Err(DecodeError::NotShortest { value: 37 }));
    }

    #[test]
    fn a_cut_value_says_what_is_missing() {
        let mut reader = Reader::new(Bytes::from_static(&[5, 1, 2]));
        assert_eq!(
            reader.prefixed("payload", 0, 10),
            Err(DecodeError::Truncated { what: "payload", missing: 3 })
        );
    }

    proptest! {
        #[test]
        fn a_varint_is_read_as_it_was_written(value in 0..=VARINT_MAX) {
            let mut writer = Writer::new();
            writer.varint(value);
            prop_assert_eq!(writer.len(), varint_len(value));
            prop_assert_eq!(varint_of(writer.as_slice()), Ok(value));
        }

        #[test]
        fn an_accepted_varint_is_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..10)) {
            if let Ok(value) = varint_of(&bytes) {
                let mut writer = Writer::new();
                writer.varint(value);
                prop_assert_eq!(writer.as_slice(), &bytes[..]);
            }
        }
    }
}
