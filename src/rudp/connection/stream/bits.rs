//! [`BitSet`]: a bounded set of numbers, one bit each.

/// A set of numbers below a bound that is fixed at creation. Its memory does not grow with its contents.
#[derive(Debug)]
pub struct BitSet {
    words: Box<[u64]>,
    len: u32,
}

impl BitSet {
    /// Creates an empty set of numbers below `bound`.
    pub fn new(bound: usize) -> Self {
        Self { words: vec![0; bound.div_ceil(WORD_BITS)].into(), len: 0 }
    }

    /// Returns the number of elements.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Returns true when the set contains the number.
    pub fn contains(&self, number: usize) -> bool {
        self.words.get(number / WORD_BITS).is_some_and(|word| word & mask(number) != 0)
    }

    /// Adds a number below the bound. Returns false when it was already in the set.
    pub fn insert(&mut self, number: usize) -> bool {
        let is_new = self.set(number, true);
        self.len += u32::from(is_new);
        is_new
    }

    /// Removes a number. Returns false when it was not in the set.
    pub fn remove(&mut self, number: usize) -> bool {
        let was_there = self.set(number, false);
        self.len -= u32::from(was_there);
        was_there
    }

    /// Sets or clears a bit. Returns true when it changed.
    fn set(&mut self, number: usize, to: bool) -> bool {
        let changes = self.contains(number) != to;
        if let Some(word) = self.words.get_mut(number / WORD_BITS).filter(|_| changes) {
            *word ^= mask(number);
        }
        changes
    }

    #[cfg(test)]
    pub fn heap_bytes(&self) -> usize {
        size_of_val(&*self.words)
    }
}

const WORD_BITS: usize = u64::BITS as usize;

const fn mask(number: usize) -> u64 {
    1 << (number % WORD_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_in_it_from_its_insertion_to_its_removal() {
        let mut set = BitSet::new(130);
        for number in [0, 63, 64, 129] {
            assert!(!set.contains(number) && !set.remove(number));
            assert!(set.insert(number) && !set.insert(number));
            assert!(set.contains(number));
        }
        assert_eq!(set.len(), 4);
        assert!(set.remove(64) && !set.contains(64) && set.contains(63));
        assert_eq!(set.len(), 3);
        assert_eq!(set.heap_bytes(), 24);
    }
}
