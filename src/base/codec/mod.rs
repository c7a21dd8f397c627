//! [`Reader`] and [`Writer`]: bytes to values and back. Any input yields a value or an error.
//!
//! Integers are big-endian. Variable-length integers follow RFC 9000 §16. Only their shortest form is
//! accepted, so accepted input re-encodes to the same bytes.

mod reader;
mod writer;

pub use reader::Reader;
pub use writer::Writer;

use bytes::Bytes;

use super::OutOfBounds;

/// Reason why bytes do not decode. Spec: WIR-3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends inside a value.
    #[error("input ends early: {missing} more bytes wanted for {what}")]
    Truncated {
        /// The value that is cut off.
        what: &'static str,
        /// Minimum number of missing bytes.
        missing: usize,
    },
    /// Bytes follow where none may.
    #[error("{bytes} bytes follow the end")]
    TrailingBytes {
        /// Number of bytes that follow.
        bytes: usize,
    },
    /// A variable-length integer is not in its shortest form.
    #[error("integer {value} is not in its shortest form")]
    NotShortest {
        /// The integer.
        value: u64,
    },
    /// A value is not legal in its field.
    #[error(transparent)]
    OutOfBounds(#[from] OutOfBounds),
    /// A type, kind or code that the protocol does not define.
    #[error("unknown {what} {value}")]
    Unknown {
        /// The field.
        what: &'static str,
        /// The value read.
        value: u64,
    },
    /// A text is not UTF-8.
    #[error("{what} is not UTF-8")]
    NotUtf8 {
        /// The field.
        what: &'static str,
    },
    /// The bytes encode a value in a form that a writer may not choose.
    #[error("{what} is not canonical")]
    NotCanonical {
        /// The field.
        what: &'static str,
    },
    /// The checksum of a clear packet does not match for this protocol id.
    #[error("checksum does not match")]
    Checksum,
}

/// A value with exactly one encoding: `read(write(v)) == v`, and `write(read(b)) == b`.
pub trait Wire: Sized {
    /// Reads one value from the front of `reader`.
    ///
    /// # Errors
    /// [`DecodeError`] if the bytes are not the canonical form of a legal value.
    fn read(reader: &mut Reader) -> Result<Self, DecodeError>;

    /// Appends the value.
    fn write(&self, writer: &mut Writer);

    /// Encodes the value.
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

/// Returns the length of `value` as a variable-length integer: 1, 2, 4 or 8 bytes.
pub const fn varint_len(value: u64) -> usize {
    match value {
        0..=0x3f => 1,
        0x40..=0x3fff => 2,
        0x4000..=0x3fff_ffff => 4,
        _ => 8,
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
