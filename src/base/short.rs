//! [`ShortBytes`]: a few bytes, stored inline.

use std::ops::{Deref, Range};

/// Up to [`Self::MAX`] bytes stored inline. A copy costs no allocation and no reference count.
#[derive(Clone, Copy, Default)]
pub struct ShortBytes {
    length: u8,
    bytes: [u8; Self::MAX],
}

impl ShortBytes {
    /// Maximum number of bytes.
    pub const MAX: usize = 23;

    /// Stores `bytes`, or returns `None` if there are more than [`Self::MAX`].
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut kept = [0; Self::MAX];
        kept.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self { length: u8::try_from(bytes.len()).ok()?, bytes: kept })
    }

    /// Returns a part of the bytes, or `None` if the range is out of bounds.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        self.get(range).and_then(Self::new)
    }
}

impl Deref for ShortBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }
}

impl PartialEq for ShortBytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for ShortBytes {}

impl std::fmt::Debug for ShortBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_as_many_bytes_as_it_has_room_for() {
        let bytes: Vec<u8> = (0..24).collect();
        for length in 0..=ShortBytes::MAX {
            assert_eq!(*ShortBytes::new(&bytes[..length]).unwrap(), bytes[..length]);
        }
        assert_eq!(ShortBytes::new(&bytes), None);
    }

    #[test]
    fn a_part_is_one_of_its_own() {
        let whole = ShortBytes::new(b"abc").unwrap();
        assert_eq!(*whole.slice(1..3).unwrap(), *b"bc");
        assert_eq!(whole.slice(3..3), ShortBytes::new(b""));
        assert_eq!(whole.slice(2..4), None);
    }
}
