//! [`Payload`]: what the application sends.

use std::ops::Range;

use bytes::Bytes;

use crate::base::{ShortBytes, Writer};

/// A message's bytes in two pieces, so that many receivers share a body and none copies it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// Comes first.
    pub head: ShortBytes,
    /// Follows.
    pub body: Bytes,
}

impl Payload {
    /// Bytes of both pieces.
    pub fn len(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// True when both are empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes, in their two pieces.
    pub fn pieces(&self) -> [&[u8]; 2] {
        [&self.head, &self.body]
    }

    /// The bytes from `range.start` on up to `range.end`, as far as there are so many; the body's memory is
    /// shared.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Self {
        let split = self.head.len();
        let (start, end) = (range.start.min(self.len()), range.end.min(self.len()));
        Self {
            head: self.head.slice(start.min(split)..end.min(split)).expect("invariant: within it"),
            body: self.body.slice(start.max(split) - split..end.max(split) - split),
        }
    }

    /// Appends the bytes from `offset` on, `length` at most.
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
