//! [`VecMap`]: a map for few keys.

/// A map for few keys that arrive in ascending order, for which a sorted array is smaller and faster than a
/// tree. A single entry takes no memory beyond its key and value.
#[derive(Debug, Clone)]
pub struct VecMap<K, V> {
    entries: Vec<(K, V)>,
}

impl<K: Ord + Copy, V> VecMap<K, V> {
    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns true if `key` is present.
    pub fn contains(&self, key: K) -> bool {
        self.find(key).is_ok()
    }

    /// Returns the value of `key`.
    pub fn get(&self, key: K) -> Option<&V> {
        let at = self.find(key).ok()?;
        self.entries.get(at).map(|(_, value)| value)
    }

    /// Returns the value of `key` for modification.
    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        let at = self.find(key).ok()?;
        self.entries.get_mut(at).map(|(_, value)| value)
    }

    /// Adds `key` if it is not present.
    pub fn add(&mut self, key: K, value: impl FnOnce() -> V) {
        if let Err(at) = self.find(key) {
            if self.entries.len() < FEW {
                self.entries.reserve_exact(1);
            }
            self.entries.insert(at, (key, value()));
        }
    }

    /// Removes `key` and returns its value.
    pub fn remove(&mut self, key: K) -> Option<V> {
        let at = self.find(key).ok()?;
        Some(self.entries.remove(at).1)
    }

    /// Iterates over all entries by ascending key.
    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.entries.iter().map(|(key, value)| (*key, value))
    }

    /// Iterates over all values by ascending key.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.iter().map(|(_, value)| value)
    }

    /// Iterates over all values for modification.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.iter_mut().map(|(_, value)| value)
    }

    /// Removes all entries and returns their values.
    pub fn drain(&mut self) -> impl Iterator<Item = V> + use<K, V> {
        std::mem::take(&mut self.entries).into_iter().map(|(_, value)| value)
    }

    fn find(&self, key: K) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&key, |(key, _)| *key)
    }
}

/// Up to this number of entries, the array has no spare capacity.
const FEW: usize = 4;

impl<K, V> Default for VecMap<K, V> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_does_what_a_tree_does(steps in prop::collection::vec((0u32..12, 0u8..3), 0..80)) {
            let (mut map, mut model) = (VecMap::default(), BTreeMap::new());
            for (step, (key, what)) in steps.into_iter().enumerate() {
                match what {
                    0 => {
                        map.add(key, || step);
                        model.entry(key).or_insert(step);
                    }
                    1 => prop_assert_eq!(map.remove(key), model.remove(&key)),
                    _ => {
                        let _ = map.get_mut(key).map(|value| *value += 1_000);
                        let _ = model.get_mut(&key).map(|value| *value += 1_000);
                    }
                }
                prop_assert_eq!((map.get(key), map.contains(key)), (model.get(&key), model.contains_key(&key)));
                prop_assert!(map.values().eq(model.values()) && map.len() == model.len());
                prop_assert!(map.iter().eq(model.iter().map(|(key, value)| (*key, value))));
            }
            prop_assert!(map.drain().eq(model.into_values()));
            prop_assert!(map.is_empty());
        }
    }
}
