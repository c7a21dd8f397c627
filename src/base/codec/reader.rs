use bytes::{Buf, Bytes};

use super::{DecodeError, Wire, varint_len};
use crate::base::OutOfBounds;

/// Takes values from the front of a datagram; byte strings are slices of it, not copies.
#[derive(Debug, Clone)]
pub struct Reader {
    bytes: Bytes,
}

impl Reader {
    /// Creates a reader at the start of `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    /// Returns the number of bytes left.
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// Returns true if no bytes are left.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the next byte without taking it.
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
    /// [`DecodeError::Truncated`], as for every method here that takes bytes.
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

    /// Takes a variable-length integer within `min..=max` and converts it to `N`.
    ///
    /// # Errors
    /// Those of [`Reader::varint`], and [`OutOfBounds::Range`].
    pub fn varint_in<N: TryFrom<u64>>(
        &mut self,
        what: &'static str,
        min: u64,
        max: u64,
    ) -> Result<N, DecodeError> {
        let value = self.varint(what)?;
        let allowed = Some(value).filter(|value| (min..=max).contains(value));
        let narrow = allowed.and_then(|value| N::try_from(value).ok());
        narrow.ok_or_else(|| OutOfBounds::Range { what, value, min, max }.into())
    }

    /// Takes a variable-length integer that fits in 32 bits.
    ///
    /// # Errors
    /// Those of [`Reader::varint_in`].
    pub fn varint_u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        self.varint_in(what, 0, u32::MAX.into())
    }

    /// Takes a length or count within `min..=max`, encoded as a variable-length integer.
    ///
    /// # Errors
    /// Those of [`Reader::varint_in`].
    pub fn count(&mut self, what: &'static str, min: usize, max: usize) -> Result<usize, DecodeError> {
        self.varint_in(what, min as u64, max as u64)
    }

    /// Takes a count within `min..=max`, then that many values.
    ///
    /// # Errors
    /// Those of [`Reader::varint_in`] and of the values.
    pub fn list<T: Wire>(
        &mut self,
        what: &'static str,
        min: usize,
        max: usize,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.count(what, min, max)?;
        (0..count).map(|_| T::read(self)).collect()
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

    /// Takes a length within `min..=max` as a variable-length integer, then that many bytes.
    ///
    /// # Errors
    /// Those of [`Reader::varint`] and [`Reader::bytes`], and [`OutOfBounds::Length`].
    pub fn prefixed(&mut self, what: &'static str, min: usize, max: usize) -> Result<Bytes, DecodeError> {
        let bytes = self.varint(what)?;
        let length = usize::try_from(bytes).ok().filter(|length| (min..=max).contains(length));
        let (min, max) = (min as u64, max as u64);
        self.bytes(what, length.ok_or(OutOfBounds::Length { what, bytes, min, max })?)
    }

    /// Takes length-prefixed text of `min..=max` bytes.
    ///
    /// # Errors
    /// Those of [`Reader::prefixed`], and [`DecodeError::NotUtf8`].
    pub fn text(&mut self, what: &'static str, min: usize, max: usize) -> Result<String, DecodeError> {
        let bytes = self.prefixed(what, min, max)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| DecodeError::NotUtf8 { what })
    }

    /// Takes all remaining bytes.
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
