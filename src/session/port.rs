//! [`WorkerPort`]: the port through which sessions reach the workers that serve their members.

use super::Fanout;
use crate::base::{ConnectionId, LoginNumber, Slot, UserId, WorkerId};

/// Location of a member: its worker, connection and slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberAt {
    /// The worker that serves its connection.
    pub worker: WorkerId,
    /// Connection of the member.
    pub connection: ConnectionId,
    /// Slot of the session in that connection.
    pub slot: Slot,
    /// Login number of that connection.
    pub login: LoginNumber,
}

/// A user who enters a session.
#[derive(Debug, Clone, Copy)]
pub struct Entrant<'a> {
    /// The user.
    pub user: &'a UserId,
    /// Its location as a member.
    pub at: MemberAt,
    /// Bytes that its queue still takes. An entry whose snapshot could be longer is refused with `busy`.
    pub snapshot_room: usize,
}

/// A worker's mailbox has no room; nothing was posted or reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the mailbox of a worker is full")]
pub struct MailboxFull;

/// What a change of a session adds to the mailbox of each worker that receives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Deliveries that the worker makes for it, at least one.
    pub deliveries: usize,
    /// Deliveries of the same session that wait already, in all mailboxes together.
    pub waiting: usize,
}

/// Where a post has the room for its [deliveries](Fanout::deliveries) from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoomFrom {
    /// [`WorkerPort::reserve`] has taken it.
    Reservation,
    /// It is kept for leaves, ends and deadlines, which cannot be refused.
    Headroom,
}

/// Mail to workers, one FIFO each. Called under the lock of a stripe: an implementation must not block, wake
/// a worker (the caller does so after the call into the table has returned) or call back into the table.
pub trait WorkerPort {
    /// Takes room for `load` in the mailbox of each of `workers`, which are distinct; all or none.
    /// It is filled by one [`WorkerPort::post`] for each before the call into the table returns.
    ///
    /// # Errors
    /// [`MailboxFull`] when one of them has no room for this session. The command is refused as `busy`, and nothing
    /// changes.
    fn reserve(&mut self, workers: &[WorkerId], load: Load) -> Result<(), MailboxFull>;

    /// Appends to the mailbox of `to`.
    fn post(&mut self, to: WorkerId, fanout: Fanout, from: RoomFrom);

    /// Requests that `keeper` be woken: the next deadline of one of its stripes is now earlier, so it must
    /// call [`SessionTable::earliest_deadline`](super::SessionTable::earliest_deadline) again.
    fn wake(&mut self, keeper: WorkerId);
}
