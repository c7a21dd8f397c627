//! [`Payload`]: the bytes that the application sends.

use std::ops::Range;

use bytes::Bytes;

use crate::base::{ShortBytes, Writer};

/// A message's bytes in two pieces, so that many receivers share a body without copying it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// The first piece.
    pub head: ShortBytes,
    /// The second piece.
    pub body: Bytes,
}

impl Payload {
    /// Returns the length of both pieces together.
    pub fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// Returns true when both pieces are empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the two pieces.
    pub fn pieces(&self) -> [&[u8]; 2] {
        [&self.head, &self.body]
    }

    /// Returns the bytes of `range`, as far as they exist; the body's memory is shared.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let split = self.head.len();
        let (start, end) = (range.start.min(self.len()), range.end.min(self.len()));
        Self {
            head: self.head.slice(start.min(split)..end.min(split)).expect("invariant: within it"),
            body: self.body.slice(start.max(split) - split..end.max(split) - split),
        }
    }

    /// Appends at most `length` bytes, starting at `offset`.
    pub fn write_range(&self, offset: usize, length: usize, writer: &mut Writer) {
        let end = (offset + length).min(self.len());
        let split = self.head.len();
        if let Some(head) = self.head.get(offset.min(split)..end.min(split)) {
            writer.slice(head);
        }
        if let Some(body) = self.body.get(offset.max(split) - split..end.max(split) - split) {
            writer.slice(body);
        }
    }
}

impl From<Bytes> for Payload {
    fn from(body: Bytes) -> Self {
        Self { head: ShortBytes::default(), body }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_runs_over_both_pieces() {
        let payload = Payload { head: ShortBytes::new(b"abc").unwrap(), body: Bytes::from_static(b"defg") };
        for offset in 0..=7 {
            for length in 0..9 {
                let mut writer = Writer::new();
                payload.write_range(offset, length, &mut writer);
                let range = offset..(offset + length).min(7);
                assert_eq!(writer.as_slice(), &b"abcdefg"[range.clone()]);
                let slice = payload.slice(range.clone());
                assert_eq!([&slice.head[..], &slice.body].concat(), &b"abcdefg"[range]);
            }
        }
    }
}
