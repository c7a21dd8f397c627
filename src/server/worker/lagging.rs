//! [`Lagging`]: the connections whose users were notified that they lag, and whether they catch up.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::base::{ConnectionId, IdMap, Timestamp};

/// Connections for which too much waits. Kept apart from the users: a message to a connection that does not
/// lag touches none of this.
// spec: SES-17
#[derive(Debug)]
pub(super) struct Lagging {
    connections: IdMap<ConnectionId, Lag>,
    /// When each of the connections is checked.
    looks: BTreeSet<(Timestamp, ConnectionId)>,
    above_bytes: usize,
    patience: Duration,
}

#[derive(Debug)]
struct Lag {
    look_at: Timestamp,
    /// Bytes of reliable messages queued since it began to lag, or since the last look. If more than this is still
    /// queued, some of it is older.
    added_since: usize,
}

impl Lagging {
    /// None yet. A connection begins to lag when more than `above_bytes` of reliable messages wait and stops when half of
    /// that does. It has `patience` to take all that waited at the beginning of that time.
    pub(super) fn new(above_bytes: usize, patience: Duration) -> Self {
        Self { connections: IdMap::default(), looks: BTreeSet::new(), above_bytes, patience }
    }

    /// Notes how many bytes of reliable messages wait for a connection, `added_bytes` of them since the last call. True when
    /// it begins to lag.
    pub(super) fn note(
        &mut self,
        now: Timestamp,
        connection: ConnectionId,
        queued_bytes: usize,
        added_bytes: usize,
    ) -> bool {
        if queued_bytes <= self.above_bytes && self.connections.is_empty() {
            return false;
        }
        if let Some(lag) = self.connections.get_mut(&connection) {
            lag.added_since = lag.added_since.saturating_add(added_bytes);
            if queued_bytes <= self.above_bytes / 2 {
                self.forget(connection);
            }
            return false;
        }
        let lags = queued_bytes > self.above_bytes;
        if lags {
            self.watch(now, connection);
        }
        lags
    }

    pub(super) fn has(&self, connection: ConnectionId) -> bool {
        self.connections.contains_key(&connection)
    }

    pub(super) fn forget(&mut self, connection: ConnectionId) {
        if let Some(lag) = self.connections.remove(&connection) {
            self.looks.remove(&(lag.look_at, connection));
        }
    }

    /// Returns when [`Self::overdue`] must be called.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.looks.first().map(|(at, _)| *at)
    }

    /// Returns a connection that has not taken in time what waited for it, and forgets it. `queued_bytes`
    /// returns how much waits for a connection now.
    pub(super) fn overdue(
        &mut self,
        now: Timestamp,
        mut queued_bytes: impl FnMut(ConnectionId) -> usize,
    ) -> Option<ConnectionId> {
        while let Some(&(at, connection)) = self.looks.first()
            && at <= now
        {
            self.looks.remove(&(at, connection));
            let Some(lag) = self.connections.remove(&connection) else { continue };
            let queued_bytes = queued_bytes(connection);
            if queued_bytes <= self.above_bytes / 2 {
                // Nothing was sent to it since it caught up.
                continue;
            }
            if queued_bytes > lag.added_since {
                return Some(connection);
            }
            self.watch(now, connection);
        }
        None
    }

    fn watch(&mut self, now: Timestamp, connection: ConnectionId) {
        let look_at = now + self.patience;
        self.connections.insert(connection, Lag { look_at, added_since: 0 });
        self.looks.insert((look_at, connection));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: ConnectionId = ConnectionId(1);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn lagging() -> Lagging {
        Lagging::new(1_000, Duration::from_secs(10))
    }

    // spec-test: SES-17
    #[test]
    fn who_lags_is_told_once_until_half_of_it_is_gone() {
        let mut lagging = lagging();
        let told = [1_000, 1_001, 5_000, 501, 1_001, 500, 1_001];
        let told = told.map(|bytes| lagging.note(at(1), ANN, bytes, 100));
        assert_eq!(told, [false, true, false, false, false, false, true]);
        lagging.forget(ANN);
        assert_eq!((lagging.has(ANN), lagging.due()), (false, None));
    }

    // spec-test: SES-17
    #[test]
    fn who_does_not_take_in_time_what_waits_is_overdue() {
        let mut lagging = lagging();
        lagging.note(at(1), ANN, 1_500, 100);
        assert_eq!(lagging.due(), Some(at(11)));
        assert_eq!(lagging.overdue(at(10), |_| 1_500), None);
        // Of 1,500 bytes, a tenth was taken, and 100 were added.
        lagging.note(at(5), ANN, 1_450, 100);
        assert_eq!(lagging.overdue(at(11), |_| 1_450), Some(ANN));
        assert_eq!((lagging.overdue(at(99), |_| 1_450), lagging.due()), (None, None));
        assert!(lagging.note(at(99), ANN, 1_001, 100), "if it is still there, it is told again");
        assert_eq!(lagging.overdue(at(109), |_| 501), Some(ANN), "however little it is");
    }

    /// Bytes in flight count, so that on a link with a long delay much waits at any time.
    // spec-test: SES-17
    #[test]
    fn who_takes_all_in_time_may_have_as_much_wait_for_as_long_as_it_likes() {
        let mut lagging = lagging();
        for second in 1..100 {
            assert_eq!(lagging.note(at(second), ANN, 1_500, 1_500), second == 1);
            assert_eq!(lagging.overdue(at(second), |_| 1_500), None);
        }
        assert_eq!(lagging.due(), Some(at(101)));
        assert_eq!(lagging.overdue(at(101), |_| 500), None);
        assert_eq!((lagging.has(ANN), lagging.due()), (false, None), "it has caught up");
    }
}
