//! [`Lagging`]: the connections whose users were told that they lag, and for how long that has gone on.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::base::{ConnectionId, IdMap, Timestamp};

/// Connections for which too much waits. Apart from their users: a message to one that does not lag needs to know
/// nothing of these.
// spec: SES-17
#[derive(Debug)]
pub(super) struct Lagging {
    connections: IdMap<ConnectionId, Lag>,
    /// When each of them is looked at.
    looks: BTreeSet<(Timestamp, ConnectionId)>,
    above_bytes: usize,
    patience: Duration,
}

#[derive(Debug)]
struct Lag {
    /// Since when too much has waited whenever somebody looked.
    since: Timestamp,
    look_at: Timestamp,
}

impl Lagging {
    /// None yet. A connection lags from when more than `above_bytes` wait until half of it does; more than
    /// `above_bytes` may wait for `patience` without a break.
    pub(super) fn new(above_bytes: usize, patience: Duration) -> Self {
        Self { connections: IdMap::default(), looks: BTreeSet::new(), above_bytes, patience }
    }

    /// So much waits for a connection, now that a message was sent to it: true when it lags from now on.
    pub(super) fn note(&mut self, now: Timestamp, connection: ConnectionId, queued_bytes: usize) -> bool {
        if queued_bytes > self.above_bytes {
            let is_new = !self.has(connection);
            if is_new {
                let look_at = now + self.patience;
                self.connections.insert(connection, Lag { since: now, look_at });
                self.looks.insert((look_at, connection));
            }
            return is_new;
        }
        if self.connections.is_empty() {
            return false;
        }
        if queued_bytes <= self.above_bytes / 2 {
            self.forget(connection);
        } else if let Some(lag) = self.connections.get_mut(&connection) {
            lag.since = now;
        }
        false
    }

    pub(super) fn has(&self, connection: ConnectionId) -> bool {
        self.connections.contains_key(&connection)
    }

    pub(super) fn forget(&mut self, connection: ConnectionId) {
        if let Some(lag) = self.connections.remove(&connection) {
            self.looks.remove(&(lag.look_at, connection));
        }
    }

    /// When [`Self::overdue`] is to be asked.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.looks.first().map(|(at, _)| *at)
    }

    /// A connection for which too much has waited for too long, which is forgotten then. `queued_bytes` tells what
    /// waits for one now.
    pub(super) fn overdue(
        &mut self,
        now: Timestamp,
        mut queued_bytes: impl FnMut(ConnectionId) -> usize,
    ) -> Option<ConnectionId> {
        while let Some(&(at, connection)) = self.looks.first()
            && at <= now
        {
            self.looks.remove(&(at, connection));
            let Some(lag) = self.connections.get_mut(&connection) else { continue };
            // It may have caught up since the last message to it.
            if queued_bytes(connection) <= self.above_bytes {
                lag.since = now;
            }
            lag.look_at = lag.since + self.patience;
            if lag.look_at <= now {
                self.connections.remove(&connection);
                return Some(connection);
            }
            self.looks.insert((lag.look_at, connection));
        }
        None
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
        let told = told.map(|bytes| lagging.note(at(1), ANN, bytes));
        assert_eq!(told, [false, true, false, false, false, false, true]);
        lagging.forget(ANN);
        assert_eq!((lagging.has(ANN), lagging.due()), (false, None));
    }

    // spec-test: SES-17
    #[test]
    fn too_much_for_too_long_without_a_break_is_overdue() {
        let mut lagging = lagging();
        lagging.note(at(1), ANN, 1_001);
        assert_eq!(lagging.due(), Some(at(11)));
        assert_eq!(lagging.overdue(at(10), |_| 1_001), None);
        lagging.note(at(5), ANN, 900);
        assert_eq!(lagging.overdue(at(11), |_| 1_001), None, "there was a break");
        assert_eq!(lagging.due(), Some(at(15)));
        assert_eq!(lagging.overdue(at(15), |_| 1_000), None, "there is one");
        assert_eq!(lagging.due(), Some(at(25)));
        assert_eq!(lagging.overdue(at(25), |_| 1_001), Some(ANN));
        assert_eq!((lagging.overdue(at(99), |_| 1_001), lagging.due()), (None, None));
        assert!(lagging.note(at(99), ANN, 1_001), "if it is still there, it is told again");
    }
}
