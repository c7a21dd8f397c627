//! [`Server`]: the threads of a running server, and how they end.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::{error, info};

use super::Builder;
use super::counters::Totals;
use super::shared::Shared;
use super::worker::Worker;
use crate::base::{MemberId, SessionId, UserId, WorkerId};
use crate::net::{self, Clock, Socket, ThreadLoop, Traffic};
use crate::secure::{KeyCountError, KeyRing, TokenKey};
use crate::session::PropertyMap;
use crate::wire::Reason;
use crate::wire::result::Info;

/// A running server. Dropping it tells each client once that it shuts down, and returns at once: its threads end, and
/// free its address, a moment later. [`Server::shutdown`] waits for the clients and for the threads.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    keys: Arc<KeyRing>,
    clock: Clock,
    running: Arc<Running>,
    workers: usize,
    sockets: Vec<Arc<net::Counters>>,
}

/// The workers that have not ended yet.
#[derive(Default)]
struct Running {
    state: Mutex<RunningState>,
    has_changed: Condvar,
}

#[derive(Default)]
struct RunningState {
    threads: usize,
    /// The first failure of one.
    failure: Option<io::Error>,
}

/// A worker that has not started.
pub(super) struct UnstartedWorker {
    pub(super) id: WorkerId,
    pub(super) socket: Socket,
    pub(super) worker: Worker,
}

/// Time that the other workers get to tell their clients when one of them has failed.
const DRAIN_AFTER_FAILURE: Duration = Duration::from_secs(1);

impl Server {
    /// A server to be set up for the game that `protocol_id` names; clients of others are not answered.
    pub fn builder(protocol_id: u64) -> Builder {
        Builder::new(protocol_id)
    }

    pub(super) fn start(
        shared: Arc<Shared>,
        keys: Arc<KeyRing>,
        clock: Clock,
        workers: Vec<UnstartedWorker>,
    ) -> io::Result<Self> {
        let first = workers.first().ok_or(io::ErrorKind::InvalidInput)?;
        let address = first.socket.local_addr()?;
        let sockets = workers.iter().map(|worker| worker.socket.counters()).collect();
        let running = Arc::default();
        let server = Self { address, shared, keys, clock, running, workers: workers.len(), sockets };
        // All are known to the mailboxes before the first of them runs, which may have mail for any other.
        let loops = workers.iter().map(|worker| server.thread_loop(worker)).collect::<Result<Vec<_>, _>>()?;
        for (worker, thread_loop) in workers.into_iter().zip(loops) {
            // When one does not start, dropping `server` stops those that did.
            server.start_worker(worker, thread_loop)?;
        }
        info!(%address, workers = server.workers, "listening");
        Ok(server)
    }

    /// The loop of a worker, which its mailbox wakes from now on.
    fn thread_loop(&self, worker: &UnstartedWorker) -> io::Result<ThreadLoop> {
        let thread_loop = ThreadLoop::new(worker.socket.path())?;
        if let Some(mailbox) = self.shared.mailboxes.of(worker.id) {
            let wake = thread_loop.wake();
            mailbox.set_wake(Box::new(move || wake.wake()));
        }
        Ok(thread_loop)
    }

    fn start_worker(
        &self,
        UnstartedWorker { id, socket, worker }: UnstartedWorker,
        thread_loop: ThreadLoop,
    ) -> io::Result<()> {
        let clock = self.clock;
        let end = WorkerEnd::new(self);
        let run = move || {
            // The worker is dropped first, and then its end is told.
            let (mut end, mut worker) = (end, worker);
            let driven = thread_loop.run(socket, clock, &mut worker);
            end.outcome = driven.inspect_err(|error| error!(worker = id.0, %error, "the socket is broken"));
        };
        thread::Builder::new().name(format!("rallypoint-{id}")).spawn(run).map(drop)
    }

    /// The address that it listens on, with its port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What it counts, at this moment.
    pub fn counters(&self) -> Totals {
        self.shared.totals()
    }

    /// What its sockets have carried until now.
    pub fn traffic(&self) -> Traffic {
        Traffic::of(self.sockets.iter().map(Arc::as_ref))
    }

    /// True while the user has a connection.
    pub fn is_connected(&self, user: &UserId) -> bool {
        self.shared.directory.live(user).is_some()
    }

    /// What all sessions are, in no order. Each is as it was at some moment of this call.
    pub fn sessions(&self) -> Vec<Info> {
        self.shared.sessions.infos()
    }

    /// What a session is; `None` when there is none of this id.
    pub fn session(&self, session: SessionId) -> Option<Info> {
        self.shared.sessions.look_at(session)
    }

    /// Who is in a session, by ascending member id; `None` when there is none of this id.
    pub fn members(&self, session: SessionId) -> Option<Vec<(MemberId, UserId)>> {
        let members = self.shared.sessions.members(session)?;
        Some(members.iter().map(|member| (member.id, member.user.clone())).collect())
    }

    /// What the members of a session share, at this moment; `None` when there is no session of this id. Whoever
    /// [observes](Builder::observe) the server is told what they share at its end.
    pub fn properties(&self, session: SessionId) -> Option<Arc<PropertyMap>> {
        self.shared.sessions.properties(session)
    }

    /// Ends a session: its members are told `closed_by_operator` and `reason`, who was invited that the invite is
    /// revoked. Returns at once; false when there is no such session.
    pub fn close_session(&self, session: SessionId, reason: Reason) -> bool {
        self.shared.close_session(session, reason)
    }

    /// Ends the user's connection: their client is told `kicked_by_operator` and `reason`, the members of their sessions
    /// that they are `dropped`. Returns at once; false when they are not connected.
    ///
    /// A user with an unused grant can connect again unless [`Builder::admit`] refuses. Make it refuse first, then kick.
    pub fn kick(&self, user: &UserId, reason: Reason) -> bool {
        self.shared.kick(user, reason)
    }

    /// Removes a user from a session, as its owner might: its members, the user among them, are told `kicked` and
    /// `reason`, and an open invite of theirs is void. They stay connected, and may come back where the session is open
    /// or its owner invites them again. Returns at once; false when they are not in it.
    pub fn remove_member(&self, session: SessionId, user: &UserId, reason: Reason) -> bool {
        self.shared.remove_member(session, user, reason)
    }

    /// Replaces the token keys, one or two, for all workers at once: tokens of a key that is not among them are refused
    /// from now on. Who is connected stays, and a handshake that was answered before may still be completed for 8 s;
    /// [`Server::kick`] afterwards ends what a stolen key has begun.
    ///
    /// # Errors
    /// [`KeyCountError`]; the keys stay as they are then.
    pub fn set_keys(&self, keys: Vec<TokenKey>) -> Result<(), KeyCountError> {
        self.keys.replace(keys)
    }

    /// Begins to shut down: refuses new clients and tells those that are connected, again and again
    /// until each has confirmed, for 3 s each and at most `timeout` in all. A later call can shorten the time. Sessions
    /// stop as they are: [`Server::sessions`], [`Server::members`] and [`Server::properties`] tell of them afterwards,
    /// too.
    pub fn drain(&self, timeout: Duration) {
        self.shared.drain(self.clock.mono() + timeout);
    }

    /// True when every worker has ended, so that [`Server::join`] does not wait.
    pub fn has_ended(&self) -> bool {
        self.running.lock().threads == 0
    }

    /// Waits until every worker has ended: by [`Server::drain`], or because one has failed. Blocks;
    /// not for async code.
    ///
    /// # Errors
    /// The first failure of a worker, whoever asks and however often: its kind and its text.
    pub fn join(&self) -> io::Result<()> {
        let running = self.running.lock();
        let ended = self.running.has_changed.wait_while(running, |running| running.threads > 0);
        let ended = ended.unwrap_or_else(PoisonError::into_inner);
        ended.failure.as_ref().map_or(Ok(()), |why| Err(io::Error::new(why.kind(), why.to_string())))
    }

    /// Drains and waits for the end; blocks for at most about `timeout`. In async code, by `spawn_blocking`: clients
    /// that live on the same thread could not confirm meanwhile.
    ///
    /// # Errors
    /// As [`Server::join`].
    pub fn shutdown(&self, timeout: Duration) -> io::Result<()> {
        self.drain(timeout);
        self.join()
    }
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, RunningState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.drain(Duration::ZERO);
    }
}

/// The end of a worker's thread, however it comes. When it is not by a drain it is the end of all workers: a server
/// without one of them would fail its users one by one.
struct WorkerEnd {
    shared: Arc<Shared>,
    clock: Clock,
    running: Arc<Running>,
    /// A panic, unless the thread says otherwise.
    outcome: io::Result<()>,
}

impl WorkerEnd {
    /// Counts a thread of `server`'s that is about to start.
    fn new(server: &Server) -> Self {
        let Server { shared, clock, running, .. } = server;
        running.lock().threads += 1;
        let outcome = Err(io::Error::other("a worker has panicked"));
        Self { shared: Arc::clone(shared), clock: *clock, running: Arc::clone(running), outcome }
    }
}

impl Drop for WorkerEnd {
    fn drop(&mut self) {
        // A drain without this worker may never be over.
        if self.outcome.is_err() || self.shared.drain_until().is_none() {
            self.shared.drain(self.clock.mono() + DRAIN_AFTER_FAILURE);
        }
        let mut running = self.running.lock();
        running.threads -= 1;
        if let Err(error) = std::mem::replace(&mut self.outcome, Ok(())) {
            running.failure.get_or_insert(error);
        }
        self.running.has_changed.notify_all();
    }
}
