//! [`TimerSet`]: one deadline per connection, the nearest first.

use crate::base::{ConnectionId, IdMap, Timestamp};

/// The deadlines of all connections: a heap, with each connection's place in it. Setting a deadline costs a
/// few comparisons regardless of their number, and takes memory only for a connection's first one.
///
/// Nearly every packet postpones a deadline, and nearly none is reached. A postponed deadline therefore stays
/// where it is in the heap, too early, until it is the first.
#[derive(Default)]
pub(super) struct TimerSet {
    /// No entry is earlier than its parent: that of `at` is at `(at - 1) / CHILDREN`. No entry is later than
    /// its connection's deadline, and the first one equals it.
    heap: Vec<(Timestamp, ConnectionId)>,
    places: IdMap<ConnectionId, Place>,
}

/// A connection that has a deadline.
struct Place {
    deadline: Timestamp,
    /// Index in the heap.
    at: usize,
}

/// Keeps the heap shallow; the children of an entry are adjacent in memory.
const CHILDREN: usize = 4;

impl TimerSet {
    /// Sets, moves or, with `None`, clears a connection's deadline.
    pub(super) fn set(&mut self, id: ConnectionId, deadline: Option<Timestamp>) {
        match (self.places.get_mut(&id), deadline) {
            (None, None) => {}
            (None, Some(deadline)) => {
                let at = self.heap.len();
                self.places.insert(id, Place { deadline, at });
                self.heap.push((deadline, id));
                self.rise(at, (deadline, id));
            }
            (Some(place), Some(deadline)) => {
                let (at, moves_on) = (place.at, deadline >= place.deadline);
                place.deadline = deadline;
                if at == 0 || !moves_on {
                    self.replace(at, (deadline, id));
                }
            }
            (Some(place), None) => {
                let at = place.at;
                self.remove(at);
            }
        }
    }

    /// Removes and returns a connection whose deadline has come; it has none then.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<ConnectionId> {
        let (_, id) = *self.heap.first().filter(|(deadline, _)| *deadline <= now)?;
        self.remove(0);
        Some(id)
    }

    /// Returns the nearest deadline.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.heap.first().map(|(deadline, _)| *deadline)
    }

    fn remove(&mut self, at: usize) {
        if let Some((_, id)) = self.heap.get(at) {
            self.places.remove(id);
        }
        if let Some(last) = self.heap.pop().filter(|_| at < self.heap.len()) {
            self.replace(at, last);
        }
    }

    /// Replaces the entry at `at`.
    fn replace(&mut self, at: usize, entry: (Timestamp, ConnectionId)) {
        if self.heap.get(at).is_some_and(|before| entry < *before) {
            return self.rise(at, entry);
        }
        self.sink(at, entry);
        // The entry that is now the first may be too early.
        while at == 0
            && let Some(&(early, id)) = self.heap.first()
            && let Some(deadline) = self.places.get(&id).map(|place| place.deadline)
            && early < deadline
        {
            self.sink(0, (deadline, id));
        }
    }

    /// Moves later parents of `at` down until the entry has its place.
    fn rise(&mut self, mut at: usize, entry: (Timestamp, ConnectionId)) {
        while let Some(parent) = at.checked_sub(1).map(|before| before / CHILDREN)
            && let Some(above) = self.heap.get(parent).copied().filter(|above| entry < *above)
        {
            self.put(at, above);
            at = parent;
        }
        self.put(at, entry);
    }

    /// Moves earlier children of `at` up until the entry has its place.
    fn sink(&mut self, mut at: usize, entry: (Timestamp, ConnectionId)) {
        loop {
            let first = at * CHILDREN + 1;
            let children = self.heap.get(first..(first + CHILDREN).min(self.heap.len())).unwrap_or_default();
            let earliest = (first..).zip(children.iter().copied()).min_by_key(|(_, child)| *child);
            let Some((child, below)) = earliest.filter(|(_, below)| *below < entry) else { break };
            self.put(at, below);
            at = child;
        }
        self.put(at, entry);
    }

    fn put(&mut self, at: usize, entry: (Timestamp, ConnectionId)) {
        if let Some(place) = self.heap.get_mut(at) {
            *place = entry;
        }
        if let Some(place) = self.places.get_mut(&entry.1) {
            place.at = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::time::Duration;

    proptest! {
        /// Compares with a plain map while time passes: most deadlines are postponed before they are reached.
        #[test]
        fn it_gives_what_is_due(
            steps in prop::collection::vec((0u32..40, prop::option::weighted(0.8, 0u64..50), 0u64..3), 0..300)
        ) {
            let (mut timers, mut model) = (TimerSet::default(), BTreeMap::new());
            let mut now = Timestamp::ZERO;
            for (id, wait, passed) in steps {
                let deadline = wait.map(|wait| now + Duration::from_millis(wait));
                let id = ConnectionId(id);
                timers.set(id, deadline);
                match deadline {
                    Some(deadline) => { model.insert(id, deadline); }
                    None => { model.remove(&id); }
                }
                prop_assert_eq!(timers.next(), model.values().min().copied());
                now += Duration::from_millis(passed);
                while let Some(id) = timers.pop_due(now) {
                    prop_assert!(model.remove(&id).is_some_and(|deadline| deadline <= now));
                }
                prop_assert!(model.values().all(|deadline| *deadline > now));
            }
        }
    }
}
