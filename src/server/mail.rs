//! Mail between workers, and the port through which sessions post it.

use bytes::BytesMut;

use super::mailbox::{MailRoom, Mailboxes};
use super::worker::Mover;
use crate::base::{ConnectionId, Envelope, SessionId, UserId, WorkerId};
use crate::session::{Fanout, Load, MailboxFull, RoomFrom, WorkerPort};
use crate::wire::{Reason, UserEvent};

/// One mail to a worker.
#[derive(Debug)]
pub enum Mail {
    /// A change of a session with members on the receiving worker.
    Fanout(Fanout),
    /// A message for the user of a connection, to its home; dropped if the connection has ended.
    ToUser {
        /// The connection.
        connection: ConnectionId,
        /// The message.
        word: Word,
    },
    /// A user that moves to the receiving worker.
    Moved(Box<Mover>),
    /// A connection whose home is the receiving worker has ended where it had moved to.
    Ended(ConnectionId),
    /// The operator ends a session.
    CloseSession {
        /// The session.
        session: SessionId,
        /// Text for its members.
        reason: Reason,
    },
    /// The operator removes a user from a session.
    RemoveMember {
        /// The session.
        session: SessionId,
        /// The user.
        user: UserId,
        /// Text for the members.
        reason: Reason,
    },
    /// A datagram for one of the worker's connections that arrived at another worker's socket.
    Forwarded {
        /// Its sender and its mark.
        from: Envelope,
        /// The whole datagram.
        datagram: BytesMut,
    },
}

impl Mail {
    /// Returns its room in a mailbox.
    pub fn room(&self) -> MailRoom {
        match self {
            Self::Fanout(fanout) => MailRoom::of(fanout.deliveries.count()),
            Self::Forwarded { .. } => MailRoom { deliveries: 0, droppable: 1 },
            _ => MailRoom::of(1),
        }
    }
}

/// A message for the user of a connection.
#[derive(Debug)]
pub enum Word {
    /// An event for the user.
    Event(UserEvent),
    /// The user has connected again.
    Replaced,
    /// The operator ends the connection, with this text for the user.
    Kicked(Reason),
}

/// Workers to wake once all locks are free.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct WorkerSet([u64; 4]);

impl WorkerSet {
    /// Adds a worker.
    pub fn insert(&mut self, worker: WorkerId) {
        if let Some(word) = self.0.get_mut(usize::from(worker.0 / 64)) {
            *word |= 1 << (worker.0 % 64);
        }
    }

    /// Returns true if it contains the worker.
    pub fn contains(&self, worker: WorkerId) -> bool {
        self.0.get(usize::from(worker.0 / 64)).is_some_and(|word| word >> (worker.0 % 64) & 1 == 1)
    }
}

/// Posts the mail of one call into the session table or the directory.
pub struct Post<'a> {
    mailboxes: &'a Mailboxes,
    wake: &'a mut WorkerSet,
}

impl<'a> Post<'a> {
    /// Posts to `mailboxes` and adds to `wake` the workers to wake afterwards.
    pub fn new(mailboxes: &'a Mailboxes, wake: &'a mut WorkerSet) -> Self {
        Self { mailboxes, wake }
    }

    /// Posts a message for the user of a connection to its home; never refused.
    pub fn to_user(&mut self, connection: ConnectionId, word: Word) {
        self.to_worker(connection.worker(), Mail::ToUser { connection, word });
    }

    /// Posts mail that must not be refused.
    pub fn to_worker(&mut self, worker: WorkerId, mail: Mail) {
        if let Some(mailbox) = self.mailboxes.get(worker) {
            mailbox.post(mail);
            self.wake.insert(worker);
        }
    }
}

impl WorkerPort for Post<'_> {
    fn reserve(&mut self, workers: &[WorkerId], load: Load) -> Result<(), MailboxFull> {
        let mailboxes = || workers.iter().filter_map(|worker| self.mailboxes.get(*worker));
        let Some(full) = mailboxes().position(|mailbox| mailbox.reserve(load).is_err()) else {
            return Ok(());
        };
        mailboxes().take(full).for_each(|mailbox| mailbox.give_back(MailRoom::of(load.deliveries)));
        Err(MailboxFull)
    }

    fn post(&mut self, to: WorkerId, fanout: Fanout, from: RoomFrom) {
        let mailbox = self.mailboxes.get(to).expect("invariant: members are served by workers that exist");
        match from {
            RoomFrom::Reservation => mailbox.post_reserved(Mail::Fanout(fanout)),
            RoomFrom::Headroom => mailbox.post(Mail::Fanout(fanout)),
        }
        self.wake.insert(to);
    }

    fn wake(&mut self, keeper: WorkerId) {
        self.wake.insert(keeper);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_every_worker() {
        let mut set = WorkerSet::default();
        for worker in [0, 63, 64, 255] {
            assert!(!set.contains(WorkerId(worker)));
            set.insert(WorkerId(worker));
            assert!(set.contains(WorkerId(worker)));
        }
        assert!(!set.contains(WorkerId(1)));
    }

    #[test]
    fn one_full_mailbox_and_nothing_is_reserved() {
        let mailboxes = Mailboxes::new(2, 1);
        let mut wake = WorkerSet::default();
        let mut post = Post::new(&mailboxes, &mut wake);
        let load = Load { deliveries: 1, waiting: 0 };
        post.reserve(&[WorkerId(1)], load).unwrap();
        assert_eq!(post.reserve(&[WorkerId(0), WorkerId(1)], load), Err(MailboxFull));
        assert_eq!(post.reserve(&[WorkerId(0)], load), Ok(()), "worker 0 still has its room");
    }
}
