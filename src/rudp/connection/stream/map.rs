//! [`StreamMap`]: what a connection keeps for each of its streams.

use crate::base::StreamId;

/// Values by stream. A connection has few streams and opens them by ascending id, so that a sorted array
/// is smaller and faster than a tree: one stream costs its value and nothing else.
#[derive(Debug)]
pub struct StreamMap<T> {
    entries: Vec<(StreamId, T)>,
}

impl<T> StreamMap<T> {
    /// Streams that there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when the stream is there.
    pub fn contains(&self, stream: StreamId) -> bool {
        self.find(stream).is_ok()
    }

    /// The stream's value.
    pub fn get(&self, stream: StreamId) -> Option<&T> {
        let at = self.find(stream).ok()?;
        self.entries.get(at).map(|(_, value)| value)
    }

    /// The stream's value, to be changed.
    pub fn get_mut(&mut self, stream: StreamId) -> Option<&mut T> {
        let at = self.find(stream).ok()?;
        self.entries.get_mut(at).map(|(_, value)| value)
    }

    /// Adds a stream that is not there.
    pub fn open(&mut self, stream: StreamId, value: impl FnOnce() -> T) {
        if let Err(at) = self.find(stream) {
            if self.entries.len() < FEW {
                self.entries.reserve_exact(1);
            }
            self.entries.insert(at, (stream, value()));
        }
    }

    /// Takes a stream out.
    pub fn remove(&mut self, stream: StreamId) -> Option<T> {
        let at = self.find(stream).ok()?;
        Some(self.entries.remove(at).1)
    }

    /// All values, by ascending id.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().map(|(_, value)| value)
    }

    /// All values, to be changed.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.entries.iter_mut().map(|(_, value)| value)
    }

    /// Takes all streams out.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        std::mem::take(&mut self.entries).into_iter().map(|(_, value)| value)
    }

    fn find(&self, stream: StreamId) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&stream, |(id, _)| *id)
    }
}

/// Up to so many streams there is room for no more than there are.
const FEW: usize = 4;

impl<T> Default for StreamMap<T> {
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
            let (mut map, mut model) = (StreamMap::default(), BTreeMap::new());
            for (step, (id, what)) in steps.into_iter().enumerate() {
                let id = StreamId(id);
                match what {
                    0 => {
                        map.open(id, || step);
                        model.entry(id).or_insert(step);
                    }
                    1 => prop_assert_eq!(map.remove(id), model.remove(&id)),
                    _ => {
                        let _ = map.get_mut(id).map(|value| *value += 1_000);
                        let _ = model.get_mut(&id).map(|value| *value += 1_000);
                    }
                }
                prop_assert_eq!((map.get(id), map.contains(id)), (model.get(&id), model.contains_key(&id)));
                prop_assert!(map.values().eq(model.values()) && map.len() == model.len());
            }
            prop_assert!(map.drain().eq(model.into_values()));
            prop_assert_eq!(map.len(), 0);
        }
    }
}
