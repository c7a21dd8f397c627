//! [`Generations`]: a map that keeps the entries used most recently.

use std::collections::HashMap;
use std::hash::Hash;

/// Keeps at least the last `N` entries that were used, or all, and at most twice as many. Forgets half of them at a
/// time, so that no order is kept.
#[derive(Debug, Clone)]
pub struct Generations<K, V, const N: usize> {
    latest: HashMap<K, V>,
    /// Entries that were not used since `latest` began.
    earlier: HashMap<K, V>,
}

impl<K: Hash + Eq, V, const N: usize> Generations<K, V, N> {
    /// Returns the value of `key`, if it is in the present generation: using it changes nothing.
    pub fn latest(&self, key: &K) -> Option<&V> {
        self.latest.get(key)
    }

    /// Returns the value of `key`, if it is remembered.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.latest(key).or_else(|| self.earlier.get(key))
    }

    /// Uses `key`. Returns true if that began a generation, so that entries were forgotten.
    pub fn insert(&mut self, key: K, value: V) -> bool {
        let is_full = self.latest.len() >= N;
        if is_full {
            self.earlier = std::mem::take(&mut self.latest);
        }
        self.latest.insert(key, value);
        is_full
    }

    /// Returns all values that are remembered; some may be there twice.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.latest.values().chain(self.earlier.values())
    }

    /// Returns the number of entries in memory.
    #[cfg(test)]
    pub fn held(&self) -> usize {
        self.latest.len() + self.earlier.len()
    }
}

impl<K, V, const N: usize> Default for Generations<K, V, N> {
    fn default() -> Self {
        Self { latest: HashMap::new(), earlier: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_that_were_used_are_kept_and_not_many_more() {
        let mut used = Generations::<u32, u32, 10>::default();
        for key in 0..1_000 {
            let begins = used.insert(key, key * 2);
            assert_eq!(begins, key > 0 && key % 10 == 0);
            assert!((key.saturating_sub(9)..=key).all(|key| used.get(&key) == Some(&(key * 2))));
            assert!(used.held() <= 20);
        }
        assert_eq!((used.get(&979), used.latest(&985), used.get(&985)), (None, None, Some(&1_970)));
        assert_eq!(used.values().count(), used.held());
    }
}
