use bytes::{BufMut, Bytes, BytesMut};

use super::{VARINT_MAX, Wire, varint_len};

/// Appends values to a growing buffer.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: BytesMut,
}

impl From<BytesMut> for Writer {
    /// Creates a writer that appends after the contents of `bytes`.
    fn from(bytes: BytesMut) -> Self {
        Self { bytes }
    }
}

impl Writer {
    /// Creates an empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates an empty buffer with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { bytes: BytesMut::with_capacity(capacity) }
    }

    /// Returns the number of bytes written so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns true if nothing was written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Discards the contents and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// Returns the bytes written so far.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the written bytes.
    pub fn finish(self) -> Bytes {
        self.bytes.freeze()
    }

    /// Returns the written bytes, still mutable.
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
    /// If `value` is above [`VARINT_MAX`]. Every field of the protocol is bounded below it.
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

    /// Appends the number of values, then the values.
    pub fn list<T: Wire>(&mut self, values: &[T]) {
        self.varint(values.len() as u64);
        values.iter().for_each(|value| value.write(self));
    }
}
