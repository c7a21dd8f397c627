//! The messages of each key.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use crate::base::Blank;

/// Numbers of the messages kept, by key. Each key has few, since newer messages replace older ones.
#[derive(Debug, Default)]
pub(super) struct KeyIndex(pub(super) BTreeMap<u16, SmallVec<[u64; 2]>>);

impl Blank for KeyIndex {
    const BLANK: &'static Self = &Self(BTreeMap::new());
}

impl KeyIndex {
    pub(super) fn numbers(&self, key: u16) -> SmallVec<[u64; 2]> {
        self.0.get(&key).cloned().unwrap_or_default()
    }

    pub(super) fn add(&mut self, key: u16, number: u64) {
        self.0.entry(key).or_default().push(number);
    }

    pub(super) fn remove(&mut self, key: u16, number: u64) {
        if let Some(numbers) = self.0.get_mut(&key) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.0.remove(&key);
            }
        }
    }
}
