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

/// A running server. Dropping it notifies each client once of the shutdown and returns at once; the threads
/// end and free the address shortly afterwards. [`Server::shutdown`] waits for the clients and for the
/// threads.
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
    /// The first failure of a thread.
    failure: Option<io::Error>,
}

/// A worker that has not started.
pub(super) struct UnstartedWorker {
    pub(super) id: WorkerId,
    pub(super) socket: Socket,
    pub(super) worker: Worker,
}

/// Time that the other workers get to notify their clients when one of them has failed.
const DRAIN_AFTER_FAILURE: Duration = Duration::from_secs(1);

impl Server {
    /// Returns a builder for a server of the game that `protocol_id` names. Clients of other games get no
    /// answer.
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
        // Every mailbox gets its wake handle before the first worker runs, because that worker may have mail
        // for any other.
        let loops = workers.iter().map(|worker| server.thread_loop(worker)).collect::<Result<Vec<_>, _>>()?;
        for (worker, thread_loop) in workers.into_iter().zip(loops) {
            // If one does not start, dropping `server` stops those that did.
            server.start_worker(worker, thread_loop)?;
        }
        info!(%address, workers = server.workers, "listening");
        Ok(server)
    }

    /// Creates the loop of a worker, which its mailbox wakes from now on.
    fn thread_loop(&self, worker: &UnstartedWorker) -> io::Result<ThreadLoop> {
        let thread_loop = ThreadLoop::new(worker.socket.path())?;
        if let Some(mailbox) = self.shared.mailboxes.get(worker.id) {
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
            // Dropped in reverse order: the worker first, then `end`, which reports the end of the thread.
            let (mut end, mut worker) = (end, worker);
            let driven = thread_loop.run(socket, clock, &mut worker);
            end.outcome = driven.inspect_err(|error| error!(worker = id.0, %error, "the socket is broken"));
        };
        thread::Builder::new().name(format!("rallypoint-{id}")).spawn(run).map(drop)
    }

    /// Returns the address that the server listens on, with its port.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Returns the current counters of the server.
    pub fn counters(&self) -> Totals {
        self.shared.totals()
    }

    /// Returns what the server's sockets have carried so far.
    pub fn traffic(&self) -> Traffic {
        Traffic::of(self.sockets.iter().map(Arc::as_ref))
    }

    /// Returns true while the user has a connection.
    pub fn is_connected(&self, user: &UserId) -> bool {
        self.shared.directory.live(user).is_some()
    }

    /// Returns information about all sessions, in no particular order. Each entry is from some moment of this
    /// call.
    pub fn sessions(&self) -> Vec<Info> {
        self.shared.sessions.infos()
    }

    /// Returns information about a session; `None` if it does not exist.
    pub fn session(&self, session: SessionId) -> Option<Info> {
        self.shared.sessions.look_at(session)
    }

    /// Returns the members of a session by ascending member id; `None` if the session does not exist.
    pub fn members(&self, session: SessionId) -> Option<Vec<(MemberId, UserId)>> {
        let members = self.shared.sessions.members(session)?;
        Some(members.iter().map(|member| (member.id, member.user.clone())).collect())
    }

    /// Returns the current properties of a session; `None` if the session does not exist. An
    /// [observer](Builder::observe) of the server receives the properties at the session's end.
    pub fn properties(&self, session: SessionId) -> Option<Arc<PropertyMap>> {
        self.shared.sessions.properties(session)
    }

    /// Ends a session. Its members get `closed_by_operator` and `reason`, and invited users are notified that
    /// their invites are revoked. Returns at once; false if the session does not exist, or after
    /// [`Server::drain`], which still carries out what was accepted before.
    pub fn close_session(&self, session: SessionId, reason: Reason) -> bool {
        self.shared.close_session(session, reason)
    }

    /// Ends the user's connection. The client gets `kicked_by_operator` and `reason`; the members of the
    /// user's sessions see the leave as `dropped`. Returns at once; false if the user is not connected. If
    /// [`Server::drain`] follows or came before, the client may get `shutting_down` instead.
    ///
    /// A user with an unused grant can connect again unless [`Builder::admit`] refuses. Make it refuse first,
    /// then kick.
    pub fn kick(&self, user: &UserId, reason: Reason) -> bool {
        self.shared.kick(user, reason)
    }

    /// Removes a user from a session, as its owner could. Its members, including the user, get `kicked` and
    /// `reason`, and an open invite of the user is revoked. The user stays connected, and may return if the
    /// session is open or its owner invites the user again. Returns at once; false if the user is not in the
    /// session, or after [`Server::drain`], which still carries out what was accepted before.
    pub fn remove_member(&self, session: SessionId, user: &UserId, reason: Reason) -> bool {
        self.shared.remove_member(session, user, reason)
    }

    /// Replaces the token keys, one or two, for all workers at once. Tokens of other keys are refused from
    /// now on. Existing connections continue, and a handshake that was answered before may still be completed
    /// for 8 s; a [`Server::kick`] afterwards ends what was begun with a stolen key.
    ///
    /// # Errors
    /// [`KeyCountError`]; the keys are then unchanged.
    pub fn set_keys(&self, keys: Vec<TokenKey>) -> Result<(), KeyCountError> {
        self.keys.replace(keys)
    }

    /// Begins to shut down: refuses new clients and notifies connected ones repeatedly until each has
    /// confirmed, for 3 s each and at most `timeout` in all. A client is notified once it has taken what was
    /// sent to it before, but at the latest when half of the time that is left when its worker begins is
    /// over. A later call can shorten the time. Sessions keep their last state, which [`Server::sessions`],
    /// [`Server::members`] and [`Server::properties`] still return afterwards.
    ///
    /// A [`Server::close_session`] or [`Server::remove_member`] that was accepted before is still carried
    /// out, and its events are sent before: with [`Duration::ZERO`], members may get `shutting_down` instead.
    /// Users may also get that instead of the end of an invite.
    pub fn drain(&self, timeout: Duration) {
        self.shared.drain(self.clock.mono() + timeout);
    }

    /// Returns true when every worker has ended, so that [`Server::join`] does not wait.
    pub fn has_ended(&self) -> bool {
        self.running.lock().threads == 0
    }

    /// Waits until every worker has ended, by [`Server::drain`] or because one has failed. Blocks; not for
    /// async code.
    ///
    /// # Errors
    /// The first failure of a worker, with its kind and text, on every call.
    pub fn join(&self) -> io::Result<()> {
        let running = self.running.lock();
        let ended = self.running.has_changed.wait_while(running, |running| running.threads > 0);
        let ended = ended.unwrap_or_else(PoisonError::into_inner);
        ended.failure.as_ref().map_or(Ok(()), |why| Err(io::Error::new(why.kind(), why.to_string())))
    }

    /// Drains and waits for the end; blocks for about `timeout` at most. In async code, call it through
    /// `spawn_blocking`: clients on the same thread could not confirm otherwise.
    ///
    /// # Errors
    /// Those of [`Server::join`].
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

/// Reports the end of a worker's thread when dropped, whatever the cause. Unless the server drains, all
/// workers end then: a server without one of them would fail its users one by one.
struct WorkerEnd {
    shared: Arc<Shared>,
    clock: Clock,
    running: Arc<Running>,
    /// A panic, unless the thread sets another outcome.
    outcome: io::Result<()>,
}

impl WorkerEnd {
    /// Counts a thread of `server` that is about to start.
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
        // What was decided may lie in this worker's mailbox. Nothing more is, once the server drains.
        if self.outcome.is_err() {
            self.shared.give_up_decisions();
        }
        let mut running = self.running.lock();
        running.threads -= 1;
        if let Err(error) = std::mem::replace(&mut self.outcome, Ok(())) {
            running.failure.get_or_insert(error);
        }
        self.running.has_changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::base::{ConnectionId, LoginNumber, SessionKind, Slot, Timestamp};
    use crate::server::limits::Limits;
    use crate::server::mail::{Post, WorkerSet};
    use crate::session::{Entrant, MemberAt};
    use crate::wire::command::{Create, InitialProperties};
    use crate::wire::{Admission, IdleTtl, MaxMembers, OnOwnerLeave, Settings};

    /// Creates the state of a server with a session that the operator has decided to close.
    fn with_a_decision() -> Shared {
        let shared = Shared::new(Limits::default(), 2, &mut StdRng::seed_from_u64(1));
        let settings = Settings {
            kind: SessionKind(1),
            max_members: MaxMembers::new(2).unwrap(),
            idle_ttl: IdleTtl::new(0).unwrap(),
            on_owner_leave: OnOwnerLeave::Transfer,
            admission: Admission::Open,
        };
        let create = Create { settings, properties: InitialProperties::default() };
        let (worker, connection) = (WorkerId(0), ConnectionId(1));
        let at = MemberAt { worker, connection, slot: Slot(1), login: LoginNumber(1) };
        let creator = Entrant { user: &UserId::new("ann").unwrap(), at, snapshot_room: usize::MAX };
        let mut wake = WorkerSet::default();
        let mut post = Post::new(&shared.mailboxes, &mut wake);
        let session = shared.sessions.create(Timestamp::ZERO, creator, create, &mut post).unwrap().session;
        assert!(shared.close_session(session, Reason::none()) && shared.has_decisions());
        shared
    }

    #[test]
    fn a_drain_waits_neither_for_a_worker_that_has_failed_nor_for_its_decisions() {
        let (shared, clock, running) = (Arc::new(with_a_decision()), Clock::new(), Arc::<Running>::default());
        running.lock().threads = 2;
        let until = clock.mono() + Duration::from_secs(3_600);
        shared.drain(until);
        let end = |outcome| {
            drop(WorkerEnd { shared: Arc::clone(&shared), clock, running: Arc::clone(&running), outcome });
        };
        end(Ok(()));
        assert!(shared.drain_until() == Some(until) && shared.has_decisions(), "the other one goes on");
        end(Err(io::Error::other("a test")));
        assert!(shared.drain_until().unwrap() <= clock.mono() + DRAIN_AFTER_FAILURE);
        assert!(!shared.has_decisions());
        let state = running.lock();
        assert_eq!((state.threads, state.failure.as_ref().unwrap().to_string()), (0, "a test".to_owned()));
    }
}
