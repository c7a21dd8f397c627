//! [`Input`]: the fuzzer's bytes, used as choices.

/// The remaining bytes; after the last, all are 0.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        byte
    }

    pub fn bool(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// Returns a number below `end`, which is 1 to 65,536.
    pub fn below(&mut self, end: usize) -> usize {
        let wide = if end > 256 { usize::from(self.u16()) } else { usize::from(self.byte()) };
        wide % end
    }

    /// Returns one of `values`.
    pub fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())]
    }

    /// Returns a number near a power of two, chosen by two bytes.
    pub fn number(&mut self) -> u64 {
        let (power, more) = (self.byte(), self.byte());
        (1u64 << (power & 0x3f)).wrapping_add(u64::from(more)).wrapping_sub(2)
    }

    /// Returns `length` bytes, or fewer at the end.
    pub fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (bytes, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        bytes
    }
}
