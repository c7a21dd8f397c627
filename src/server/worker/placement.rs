//! Which worker serves a user: the members of a small session are best kept on one worker.
//!
//! A broadcast costs a mail and possibly a wake-up for each worker that has members, and is sent with as many
//! system calls. The kernel, which does not know sessions, distributes clients among workers by their
//! addresses. So a user that enters a session while in no other moves to the worker that serves most of its
//! members, and enters it there. The owner of a new session moves to the worker with the fewest users, if
//! that has clearly fewer.
//!
//! A user moves once. Its *home*, the worker that its connection's id names, continues to receive the
//! messages for the user, and the datagrams that the client sends until it has learned of another id, and
//! forwards both.

use tracing::debug;

use super::Worker;
use super::client::Client;
use super::dispatch::Caller;
use crate::base::{ConnectionId, RequestId, Timestamp, WorkerId};
use crate::rudp::Moving;
use crate::server::limits::size;
use crate::server::mail::{Mail, Post, Word};
use crate::wire::{CloseCode, Request};

/// A user that moves to another worker, with the request that it moves for.
#[derive(Debug)]
pub struct Mover {
    connection: Moving,
    client: Box<Client>,
    command: (RequestId, Request),
    /// When the user left.
    at: Timestamp,
}

impl Mover {
    /// Returns when the user left the other worker; it arrives no earlier.
    pub(super) fn at(&self) -> Timestamp {
        self.at
    }
}

/// A worker that serves more than this fraction of its share of all users gets no more users moved to it.
const SHARE_MAX: (u64, u64) = (5, 4);

/// A difference of this many users does not count, because users come and go.
const SLIGHT: u64 = 16;

impl Worker {
    /// Returns the worker that should serve the caller of a request; `None` if it is this one.
    pub(super) fn better_place(
        &self,
        now: Timestamp,
        caller: &Caller,
        request: &Request,
    ) -> Option<WorkerId> {
        let max_seats = size(self.shared.limits.gathered_seats);
        let is_home = caller.connection.worker() == self.id;
        let drains = self.shared.drain_until().is_some();
        if !is_home || drains || self.shared.mailboxes.workers().len() < 2 {
            return None;
        }
        let place = match request {
            Request::Join(join) => {
                let login = self.clients.get(caller.connection)?.login;
                self.shared.sessions.place_for(now, (&caller.user, login), *join, max_seats)?
            }
            Request::Create(create) if usize::from(create.settings.max_members.get()) <= max_seats => {
                self.least_busy()
            }
            _ => return None,
        };
        let may_move = place != self.id && self.has_room(place) && self.clients.may_move(caller.connection);
        may_move.then_some(place)
    }

    /// Moves a user to its [better place](Worker::better_place), together with its request.
    pub(super) fn move_out(
        &mut self,
        now: Timestamp,
        caller: &Caller,
        to: WorkerId,
        command: (RequestId, Request),
    ) {
        let connection = caller.connection;
        let mailbox = self.shared.mailboxes.get(to).expect("invariant: a place is a worker that exists");
        let moving = self.clients.release(connection, to);
        let (moving, client) = moving.expect("invariant: only who may move has a better place");
        debug!(%connection, %to, "moved");
        mailbox.post(Mail::Moved(Box::new(Mover { connection: moving, client, command, at: now })));
        self.to_wake.insert(to);
        self.shared.population.shift(self.id, to);
        self.counters().connections_moved.add(1);
    }

    /// Takes in a user that another worker has sent.
    pub(super) fn move_in(&mut self, now: Timestamp, mover: Mover) {
        let Mover { connection: moving, client, command: (id, request), .. } = mover;
        let caller = Caller { connection: moving.id(), user: client.user.clone() };
        self.clients.adopt(now, moving, client);
        if self.is_draining() {
            return self.join_drain(caller.connection);
        }
        self.user_command(now, &caller, id, request);
    }

    /// Handles a message for the user of a connection, or forwards it to where the connection is.
    pub(super) fn pass_word(&mut self, now: Timestamp, connection: ConnectionId, word: Word) {
        let moved_to = self.clients.endpoint.moved_to(connection);
        match (moved_to, word) {
            (Some(to), word) => {
                let mut post = Post::new(&self.shared.mailboxes, &mut self.to_wake);
                post.to_worker(to, Mail::ToUser { connection, word });
            }
            (None, Word::Event(event)) => self.clients.tell(now, connection, &event),
            (None, Word::Replaced) => self.replaced(now, connection),
            (None, Word::Kicked(reason)) => {
                self.kicked(now, connection, CloseCode::KickedByOperator, &reason);
            }
        }
    }

    /// Notifies the homes of connections that have ended here.
    pub(super) fn tell_homes(&mut self) {
        while let Some(connection) = self.clients.endpoint.poll_ended() {
            let mut post = Post::new(&self.shared.mailboxes, &mut self.to_wake);
            post.to_worker(connection.worker(), Mail::Ended(connection));
        }
    }

    /// Returns a worker that serves clearly fewer users than this one, or this one.
    fn least_busy(&self) -> WorkerId {
        let users = |worker: &WorkerId| self.shared.population.users_of(*worker);
        let least = self.shared.mailboxes.workers().min_by_key(users).unwrap_or(self.id);
        if users(&least) + SLIGHT < users(&self.id) { least } else { self.id }
    }

    /// Returns false for a worker that already serves more than its share.
    fn has_room(&self, worker: WorkerId) -> bool {
        let (times, of) = SHARE_MAX;
        let workers = self.shared.mailboxes.workers().len() as u64;
        let share = self.shared.population.all() / workers.max(1);
        self.shared.population.users_of(worker) <= share * times / of + SLIGHT
    }
}
