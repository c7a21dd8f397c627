//! Connections that move from one worker's endpoint to another's.
//!
//! A connection's id names the worker that assigned it: its *home*, for as long as it lives. It may move from
//! there, once. Home keeps the id and the connection's location, so that packets for the id still reach it.
//! At its new worker, the connection has an alias besides its id, for its client to use, and home must be
//! notified when it ends.

use std::collections::VecDeque;
use std::fmt;

use super::{Endpoint, EndpointEvent, Live};
use crate::base::{ConnectionId, Timestamp, WorkerId};

/// A connection that has left one endpoint and has not joined another yet. It neither sends nor receives, so
/// this state should be brief.
pub struct Moving {
    id: ConnectionId,
    live: Live,
    /// Events that its owner has not polled yet.
    events: VecDeque<EndpointEvent>,
}

impl Moving {
    /// Returns the connection's id.
    pub fn id(&self) -> ConnectionId {
        self.id
    }
}

impl fmt::Debug for Moving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Moving").field(&self.id).finish()
    }
}

impl Endpoint {
    /// Removes a connection that moves to the endpoint of worker `to`. Returns `None` when it is not here, or
    /// when this is not its home.
    pub fn release(&mut self, id: ConnectionId, to: WorkerId) -> Option<Moving> {
        if id.worker() != self.worker {
            return None;
        }
        let mut live = self.connections.remove(&id)?;
        live.take_events(id, &mut self.events);
        (live.is_dirty, live.is_lent, live.is_closing) = (false, false, false);
        self.timers.set(id, None);
        self.moved.insert(id, to);
        let (events, others) = self.events.drain(..).partition(|event| event.connection() == id);
        self.events = others;
        Some(Moving { id, live, events })
    }

    /// Adds a connection that another endpoint has released. Returns its alias here, which its client must be
    /// sent; `None` when hardly any id is left.
    // spec: EVT-14
    pub fn adopt(&mut self, now: Timestamp, moving: Moving) -> Option<ConnectionId> {
        let Moving { id, mut live, events } = moving;
        let alias = self.ids.take(now, &mut self.rng);
        live.alias = alias;
        self.aliases.extend(alias.map(|alias| (alias, id)));
        self.events.extend(events);
        live.mark_dirty(id, &mut self.dirty);
        self.connections.insert(id, live);
        alias
    }

    /// Returns the worker to which a connection, whose home this is, has moved.
    pub fn moved_to(&self, id: ConnectionId) -> Option<WorkerId> {
        self.moved.get(&id).copied()
    }

    /// Returns the number of connections whose home this is and that are elsewhere.
    pub fn moved_count(&self) -> usize {
        self.moved.len()
    }

    /// Returns the next connection that moved here and has ended here. Its home must be notified with
    /// [`Self::forget`].
    pub fn poll_ended(&mut self) -> Option<ConnectionId> {
        self.ended.pop()
    }

    /// Returns true when [`Self::poll_ended`] has something to return.
    pub fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Forgets a connection that moved from here and has ended elsewhere.
    pub fn forget(&mut self, now: Timestamp, id: ConnectionId) {
        if self.moved.remove(&id).is_some() {
            self.ids.give_back(now, id);
        }
    }

    /// Removes a connection that has ended here.
    pub(super) fn part_with(&mut self, now: Timestamp, id: ConnectionId) {
        let alias = self.connections.remove(&id).and_then(|live| live.alias);
        if let Some(alias) = alias {
            self.aliases.remove(&alias);
            self.ids.give_back(now, alias);
        }
        if id.worker() == self.worker {
            self.ids.give_back(now, id);
        } else {
            self.ended.push(id);
        }
    }
}
