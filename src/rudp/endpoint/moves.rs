//! Connections that move from one worker's endpoint to another's.
//!
//! A connection's id names the worker that gave it: its *home*, as long as it lives. It may move from there,
//! once. Home keeps the id and says where the connection is, so that what is sent to the id still finds it.
//! Where it is now, it has an alias beside its id, for its client to use; and home must hear of its end.

use std::collections::VecDeque;
use std::fmt;

use super::{Endpoint, EndpointEvent, Live};
use crate::base::{ConnectionId, Timestamp, WorkerId};

/// A connection that has left one endpoint and is not in another yet. It neither sends nor receives; so it
/// should not last.
pub struct Moving {
    id: ConnectionId,
    live: Live,
    /// What it has told and nobody has heard.
    events: VecDeque<EndpointEvent>,
}

impl Moving {
    /// Names the connection.
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
    /// Takes a connection out, which goes on to the endpoint of worker `to`. `None` for one that is not
    /// here, or whose home this is not.
    pub fn release(&mut self, id: ConnectionId, to: WorkerId) -> Option<Moving> {
        if id.worker() != self.worker {
            return None;
        }
        let mut live = self.connections.remove(&id)?;
        live.take_events(id, &mut self.events);
        (live.is_dirty, live.is_lent) = (false, false);
        self.timers.set(id, None);
        self.moved.insert(id, to);
        let (events, others) = self.events.drain(..).partition(|event| event.connection() == id);
        self.events = others;
        Some(Moving { id, live, events })
    }

    /// Takes in a connection that another endpoint has released. Its alias here, of which its client is to be
    /// told; `None` when hardly any id is left.
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

    /// Where a connection whose home this is has moved to.
    pub fn moved_to(&self, id: ConnectionId) -> Option<WorkerId> {
        self.moved.get(&id).copied()
    }

    /// Connections whose home this is and that are elsewhere.
    pub fn moved_count(&self) -> usize {
        self.moved.len()
    }

    /// The next connection that moved here and has ended here. Its home is to be told, by [`Self::forget`].
    pub fn poll_ended(&mut self) -> Option<ConnectionId> {
        self.ended.pop()
    }

    /// True when [`Self::poll_ended`] has something to tell.
    pub fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// A connection that moved from here has ended where it was.
    pub fn forget(&mut self, now: Timestamp, id: ConnectionId) {
        if self.moved.remove(&id).is_some() {
            self.ids.give_back(now, id);
        }
    }

    /// Lets a connection go that has ended here.
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
