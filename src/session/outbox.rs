//! [`Outbox`]: the port through which sessions reach the workers that serve their members.

use super::Fanout;
use crate::base::{ConnectionId, Slot, WorkerId};

/// Where a member is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberAt {
    /// The worker that owns its connection.
    pub worker: WorkerId,
    /// Its connection.
    pub connection: ConnectionId,
    /// The connection's handle for the session.
    pub slot: Slot,
    /// Of two connections of a user the newer has the larger one.
    pub login: u64,
}

/// A worker's mailbox has no room; nothing was posted or reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the mailbox of a worker is full")]
pub struct MailboxFull;

/// What a change of a session asks of the mailbox of each worker that is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Deliveries that it leads to there, at least one.
    pub deliveries: usize,
    /// Deliveries of the same session that wait already, in all mailboxes together.
    pub waiting: usize,
}

/// Which room of a mailbox a post takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// What [`Outbox::reserve`] has set aside for it.
    Reserved {
        /// The deliveries of the [`Load`].
        deliveries: usize,
    },
    /// What is kept for leaves, ends and deadlines, which cannot be refused.
    Headroom,
}

/// Mail to workers, each a FIFO. Called under a stripe's lock: it must not block, wake a worker
/// (do that after the call into the table has returned) or call back into the table.
pub trait Outbox {
    /// Sets aside room for `load` in the mailbox of each of `workers`, which are distinct; all or none.
    /// It is filled by one [`Outbox::post`] for each before the call into the table returns.
    ///
    /// # Errors
    /// [`MailboxFull`] when one of them has no room for this session. The command is refused as `busy`, and nothing
    /// changes.
    fn reserve(&mut self, workers: &[WorkerId], load: Load) -> Result<(), MailboxFull>;

    /// Appends to the mailbox of `to`.
    fn post(&mut self, to: WorkerId, fanout: Fanout, room: Room);

    /// The next deadline of a stripe that `owner` serves is earlier than it was: have it ask
    /// [`SessionTable::earliest_deadline`](super::SessionTable::earliest_deadline) again.
    fn wake(&mut self, owner: WorkerId);
}
