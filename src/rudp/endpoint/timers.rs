//! [`TimerSet`]: one deadline a connection, the nearest first.

use std::collections::BTreeSet;

use crate::base::{ConnectionId, Timestamp};

/// The deadlines of all connections. Each connection keeps a copy of its own, by which it is found.
#[derive(Default)]
pub(super) struct TimerSet {
    by_time: BTreeSet<(Timestamp, ConnectionId)>,
}

impl TimerSet {
    /// Sets, moves or, with `None`, clears a connection's deadline; `armed` is the connection's copy.
    pub(super) fn set(
        &mut self,
        id: ConnectionId,
        armed: &mut Option<Timestamp>,
        deadline: Option<Timestamp>,
    ) {
        if *armed == deadline {
            return;
        }
        if let Some(before) = std::mem::replace(armed, deadline) {
            self.by_time.remove(&(before, id));
        }
        if let Some(deadline) = deadline {
            self.by_time.insert((deadline, id));
        }
    }

    /// Takes a connection whose deadline has come. Its copy is the caller's to clear.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<ConnectionId> {
        let (deadline, id) = *self.by_time.first()?;
        if deadline > now {
            return None;
        }
        self.by_time.pop_first();
        Some(id)
    }

    /// The nearest deadline.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(deadline, _)| *deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// Beside a plain map.
        #[test]
        fn it_gives_what_is_due(steps in prop::collection::vec((0u32..6, prop::option::of(0u64..50)), 0..60)) {
            let (mut timers, mut model) = (TimerSet::default(), BTreeMap::new());
            let mut armed: BTreeMap<ConnectionId, Option<Timestamp>> = BTreeMap::new();
            for (id, deadline) in steps {
                let deadline = deadline.map(Timestamp::from_millis);
                let id = ConnectionId(id);
                timers.set(id, armed.entry(id).or_default(), deadline);
                match deadline {
                    Some(deadline) => { model.insert(id, deadline); }
                    None => { model.remove(&id); }
                }
                prop_assert_eq!(timers.next(), model.values().min().copied());
            }
            let due = Timestamp::from_millis(25);
            while let Some(id) = timers.pop_due(due) {
                prop_assert!(model.remove(&id).is_some_and(|deadline| deadline <= due));
            }
            prop_assert!(model.values().all(|deadline| *deadline > due));
        }
    }
}
