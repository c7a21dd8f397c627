//! [`Client`]: what an app calls.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::config::ClientConfig;
use super::connect::{ConnectError, connect};
use super::core::{Disconnected, Event, Mirror, RequestError, SendError, Sent};
use super::driver::{Drain, Shared};
use super::events::{Events, Sink, queue};
use super::params::{CreateSession, InviteUsers};
use crate::base::{InviteId, MemberId, Revision, SessionId, Slot, UserId};
use crate::rudp::Stats;
use crate::secure::ConnectGrant;
use crate::wire::command::{Decline, Delete, Join, Kick, Revoke, To, Transfer};
use crate::wire::event::Invitation;
use crate::wire::result::{Entered, Info, Membership};
use crate::wire::{Delivery, ErrorCode, PropertyOp, PropertyOps, Reason, Request, Value};

/// A connection to a server. Clones are the same connection; dropping the last one closes it, as
/// [`Client::close`] does.
///
/// Commands are sent when their future is first polled and are carried out even if it is dropped then.
/// Their results come in the order in which the server carried them out, which is, for the commands
/// of one session, the order of their sending. By then [`Client::session`] knows what the command did, or why it
/// was refused (but of `leave` and `delete`, which are answered right before that); the events that say so are on their
/// way to the app, which may read them later. Spec: SES-19.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

/// Closes the connection when the last client is gone.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close("");
    }
}

impl Client {
    /// Connects to the server at the first of the grant's addresses that answers: each is tried for
    /// [`ClientConfig::connect_timeout`], beginning a second after the one before, or when that has failed. Needs a
    /// tokio runtime with I/O and time, on which the connection then [lives](super#the-runtime).
    ///
    /// To drop the future is to give the attempt up. The server may have answered it, and keeps a place for it for
    /// eight seconds. A token has two, a user eight: who has given up more is told `user_limit` until
    /// then. So another attempt asks the backend for another grant.
    ///
    /// # Errors
    /// [`ConnectError`]: of several addresses that of the last one that failed otherwise than by silence. The server has
    /// answered when this returns a client, and has not heard that it was heard: it may still close the connection as
    /// its first act, as `full` or because another attempt with the same grant has won (`replaced`).
    ///
    /// # Panics
    /// Where there is no tokio runtime.
    pub async fn connect(grant: &ConnectGrant, config: ClientConfig) -> Result<(Self, Events), ConnectError> {
        let sink = |client: &Self| queue(config.events_buffer, Arc::clone(&client.shared().wake));
        connect(grant, &config, sink).await
    }

    /// As [`Client::connect`], but `handler` is called with each event, by the task that reads the
    /// socket: the shortest way, for handlers that never block. It may call the client that it is given, and spawn what
    /// awaits a command with a clone of it. A clone that it keeps holds the connection open, as every client does; it
    /// is not called any more when the last one has been dropped. A handler that panics ends the connection.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub async fn connect_with_handler(
        grant: &ConnectGrant,
        config: ClientConfig,
        handler: impl FnMut(&Self, Event) + Send + 'static,
    ) -> Result<Self, ConnectError> {
        // Each address that is tried gets its own way to the one handler; only the first that answers uses it.
        let handler = Arc::new(Mutex::new(handler));
        let sink = |client: &Self| {
            // One that counted would keep the connection open.
            let (handler, handle) = (Arc::clone(&handler), Arc::downgrade(&client.handle));
            let call = move |event| {
                let Some(handle) = handle.upgrade() else { return };
                let mut handler = handler.lock().unwrap_or_else(PoisonError::into_inner);
                handler(&Self { handle }, event);
            };
            (Sink::Handler(Box::new(call)), ())
        };
        let (client, ()) = connect(grant, &config, sink).await?;
        Ok(client)
    }

    /// The first client of a connection.
    pub(super) fn of(shared: Arc<Shared>) -> Self {
        Self { handle: Arc::new(Handle(shared)) }
    }

    /// Creates a session, whose owner and first member the client is.
    ///
    /// # Errors
    /// [`RequestError`], as every command here.
    pub async fn create(&self, session: CreateSession) -> Result<Entered, RequestError> {
        let request = Request::Create(session.build()?);
        self.ask(None, &request, as_entered).await
    }

    /// Accepts an invite. When this returns, the session's mirror is there.
    ///
    /// An invite admits once: who was in the session by a connection that is lost needs another one
    /// (`invite_used`).
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn join(&self, invite: InviteId) -> Result<Entered, RequestError> {
        self.ask(None, &Request::Join(Join::Invite(invite)), as_entered).await
    }

    /// Joins a session that is open to all.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn join_open(&self, session: SessionId) -> Result<Entered, RequestError> {
        self.ask(None, &Request::Join(Join::Session(session)), as_entered).await
    }

    /// Ends an invite of the client's own; the owner is told `reason`, 128 bytes at most.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn decline(&self, invite: InviteId, reason: &str) -> Result<(), RequestError> {
        let reason = Reason::new(reason)?;
        self.ask(None, &Request::Decline(Decline { invite, reason }), as_empty).await
    }

    /// What a session is that the client is in.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn info(&self, session: SessionId) -> Result<Info, RequestError> {
        let info = |value| if let Value::Info(info) = value { Some(info) } else { None };
        self.ask(None, &Request::Info(session), info).await
    }

    /// The sessions that the client is in.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn list_mine(&self) -> Result<Vec<Membership>, RequestError> {
        let list = |value| if let Value::Sessions(list) = value { Some(list) } else { None };
        self.ask(None, &Request::ListMine, list).await
    }

    /// The client's open invites.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn list_invites(&self) -> Result<Vec<Invitation>, RequestError> {
        let list = |value| if let Value::Invites(list) = value { Some(list) } else { None };
        self.ask(None, &Request::ListInvites, list).await
    }

    /// Invites users, as the owner. For each its invite, or why it has none.
    ///
    /// # Errors
    /// [`RequestError`] when nobody was invited.
    pub async fn invite(
        &self,
        slot: Slot,
        invite: InviteUsers,
    ) -> Result<Vec<(UserId, Result<InviteId, ErrorCode>)>, RequestError> {
        let request = Request::Invite(invite.build()?);
        let session = self.session(slot).map(|mirror| mirror.session());
        let answers = |value| if let Value::Invited(answers) = value { Some(answers) } else { None };
        let answers = self.ask(Some(slot), &request, answers).await?;
        let session = session.ok_or(ErrorCode::NotAMember)?;
        let id = |number| InviteId { session, number };
        Ok(invite.users().iter().cloned().zip(answers.into_iter().map(|answer| answer.map(id))).collect())
    }

    /// Ends an invite of the session, as the owner.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn revoke(&self, slot: Slot, invite: InviteId) -> Result<(), RequestError> {
        // On the wire it is a number of the slot's session.
        if self.session(slot).is_some_and(|mirror| mirror.session() != invite.session) {
            return Err(ErrorCode::NoSuchInvite.into());
        }
        self.ask(Some(slot), &Request::Revoke(Revoke { number: invite.number }), as_empty).await
    }

    /// Leaves the session.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn leave(&self, slot: Slot) -> Result<(), RequestError> {
        self.ask(Some(slot), &Request::Leave, as_empty).await
    }

    /// Removes a member, as the owner; all are told `reason`, 128 bytes at most. Their open invites of the session
    /// end. A session that is open to all they may join again.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn kick(&self, slot: Slot, member: MemberId, reason: &str) -> Result<(), RequestError> {
        let reason = Reason::new(reason)?;
        self.ask(Some(slot), &Request::Kick(Kick { member, reason }), as_empty).await
    }

    /// Makes another member the owner, as the owner.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn transfer(&self, slot: Slot, member: MemberId) -> Result<(), RequestError> {
        self.ask(Some(slot), &Request::Transfer(Transfer { member }), as_empty).await
    }

    /// Ends the session, as the owner; all are told `reason`, 128 bytes at most.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn delete(&self, slot: Slot, reason: &str) -> Result<(), RequestError> {
        let reason = Reason::new(reason)?;
        self.ask(Some(slot), &Request::Delete(Delete { reason }), as_empty).await
    }

    /// Changes properties, 1 to 256, all or none; the properties' revision with the changes. What an increment has led
    /// to is in the [`Event::PropertiesChanged`] of that revision; the mirror may know later changes, too.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn set_properties(&self, slot: Slot, ops: Vec<PropertyOp>) -> Result<Revision, RequestError> {
        let request = Request::SetProperties(PropertyOps::new(ops)?);
        let revision = |value| if let Value::Revision(revision) = value { Some(revision) } else { None };
        self.ask(Some(slot), &request, revision).await
    }

    /// Sends to the session's members, 65,536 bytes at most, 1,024 when `delivery` is
    /// [`Delivery::Unreliable`] or [`Delivery::Sequenced`]. Returns at once: the message is on its way, and if the
    /// server does not pass it on, an [`Event::Refused`] says so.
    ///
    /// A reliable payload's memory is shared until the server has acked it. Copy a few bytes of a large block, such as a
    /// part of what was received, before you send them: the whole block stays with them.
    ///
    /// The server has budgets: by default 2,000 messages and 1 MiB a second of a connection, a quarter of the bytes at
    /// once, and twice the bytes of a session. What is over one is refused and leaves a gap, in ordered messages, too.
    /// A client that sends more, such as a file, spreads it and heeds `Refused`. So does one whose line was dead for
    /// seconds: what it sent meanwhile arrives all at once ([`Client::queued_bytes`] tells how much waits). In a session
    /// that others flood, what was refused counts, too, so a large message is tried again after a while and not at once. A client that goes on far beyond
    /// is closed ([`CloseCode::ProtocolViolation`](super::CloseCode::ProtocolViolation)). Spec: LIM-2, LIM-3.
    ///
    /// # Errors
    /// [`SendError`]; nothing was sent then.
    pub fn broadcast(
        &self,
        slot: Slot,
        to: To,
        delivery: Delivery,
        payload: impl Into<Bytes>,
    ) -> Result<Sent, SendError> {
        // Before the lock: it is the app's code.
        let payload = payload.into();
        let shared = self.shared();
        let now = shared.now();
        let sent = shared.lock().core.broadcast(now, slot, to, delivery, payload)?;
        shared.wake.notify_one();
        Ok(sent)
    }

    /// Sends to some of the session's members, 1 to 1,024; otherwise as [`Client::broadcast`].
    ///
    /// # Errors
    /// [`SendError`]; nothing was sent then.
    pub fn message(
        &self,
        slot: Slot,
        members: &[MemberId],
        delivery: Delivery,
        payload: impl Into<Bytes>,
    ) -> Result<Sent, SendError> {
        let payload = payload.into();
        let shared = self.shared();
        let now = shared.now();
        let sent = shared.lock().core.message(now, slot, members, delivery, payload)?;
        shared.wake.notify_one();
        Ok(sent)
    }

    /// What is known of a session, as of now; `None` when the client is not in it. It may be ahead of the events that
    /// the app has read: an app that goes by these keeps the mirror of [`Event::Entered`] and [applies](Mirror::apply)
    /// them to it.
    pub fn session(&self, slot: Slot) -> Option<Arc<Mirror>> {
        self.shared().lock().core.mirror(slot).cloned()
    }

    /// What is known of every session that the client is in, by slot.
    pub fn sessions(&self) -> Vec<Arc<Mirror>> {
        self.shared().lock().core.mirrors().cloned().collect()
    }

    /// How the connection has ended; `None` while it has not.
    pub fn disconnected(&self) -> Option<Disconnected> {
        self.shared().lock().end.clone()
    }

    /// True until the connection has ended.
    pub fn is_connected(&self) -> bool {
        self.shared().lock().core.is_connected()
    }

    /// What the connection has done so far, or until it ended; `None` where there never was one.
    pub fn stats(&self) -> Option<Stats> {
        self.shared().lock().core.stats()
    }

    /// Bytes that wait to be sent or acked, with 64 more for each message: how far the server is behind. Who sends
    /// much sends on while this is small ([`Client::drained_to`]), rather than until [`SendError::WouldBlock`]. It says
    /// nothing of the server's budgets ([`Client::broadcast`]): what is over one is acked, and refused.
    pub fn queued_bytes(&self) -> usize {
        self.shared().lock().core.queued_bytes()
    }

    /// The smoothed round-trip time; `None` before the server has acked anything, and when the connection has ended.
    pub fn rtt(&self) -> Option<Duration> {
        self.shared().lock().core.rtt()
    }

    /// Waits until nothing that was sent is under way any more: the way to leave nothing behind before
    /// [`Client::close`]. What is sent meanwhile is waited for, too: who goes on sending may wait for ever. The
    /// server has the messages then. It has not passed them on yet: an [`Event::Refused`] may still follow. Cancel safe.
    ///
    /// # Errors
    /// [`SendError::NotConnected`] when the connection has ended first.
    pub async fn flush(&self) -> Result<(), SendError> {
        self.drained_to(0).await
    }

    /// Waits until no more than so many [bytes are queued](Client::queued_bytes): where to go on after a
    /// [`SendError::WouldBlock`], and how one that sends much never has one. Cancel safe.
    ///
    /// ```no_run
    /// # use rallypoint::client::{Client, Delivery, SendError, Slot, To};
    /// # async fn send(client: Client, slot: Slot, parts: Vec<Vec<u8>>) -> Result<(), SendError> {
    /// for part in parts {
    ///     client.drained_to(128 * 1024).await?;
    ///     client.broadcast(slot, To::Others, Delivery::ReliableOrdered, part)?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`SendError::NotConnected`] when the connection has ended first.
    pub async fn drained_to(&self, queued_bytes: usize) -> Result<(), SendError> {
        let (tell, drained) = oneshot::channel();
        {
            let mut state = self.shared().lock();
            if !state.core.is_connected() {
                return Err(SendError::NotConnected);
            }
            if state.core.queued_bytes() <= queued_bytes {
                return Ok(());
            }
            // Those of whom nobody waits any more make room.
            state.drains.retain(|drain| !drain.tell.is_closed());
            state.drains.push(Drain { queued_bytes, tell });
        }
        // It may have stopped to read, for the app to take its events first.
        self.shared().wake.notify_one();
        drained.await.map_err(|_| SendError::NotConnected)
    }

    /// Closes the connection. The server is told `reason`, 128 bytes at most; what was sent last may
    /// not have arrived, see [`Client::flush`]. [`Event::Disconnected`] follows.
    ///
    /// Returns at once. A program that ends its runtime next awaits [`Client::closed`] before, or the server
    /// hears of nothing and waits for the idle timeout.
    pub fn close(&self, reason: &str) {
        self.shared().close(reason);
    }

    /// Waits until the connection has ended and its last datagram has left; after [`Client::close`] for as long as
    /// the server takes to answer, three seconds at most. Tells why it has ended. Cancel safe.
    pub async fn closed(&self) -> Disconnected {
        self.shared().ended().await
    }

    fn shared(&self) -> &Shared {
        &self.handle.0
    }

    /// Sends a command and waits for its result.
    async fn ask<T>(
        &self,
        slot: Option<Slot>,
        request: &Request,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Result<T, RequestError> {
        let (tell, result) = oneshot::channel();
        {
            let shared = self.shared();
            let now = shared.now();
            let mut state = shared.lock();
            let id = match slot {
                None => state.core.request(now, request)?,
                Some(slot) => state.core.request_in(now, slot, request)?,
            };
            state.waiters.insert(id, tell);
        }
        self.shared().wake.notify_one();
        let value = result.await.unwrap_or(Err(RequestError::OutcomeUnknown))?;
        Ok(read(value).expect("invariant: the core lets a value pass only with a command of its kind"))
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("is_connected", &self.is_connected()).finish_non_exhaustive()
    }
}

impl Shared {
    fn close(&self, reason: &str) {
        let now = self.now();
        let mut state = self.lock();
        if state.core.is_connected() {
            state.end = Some(Disconnected::ByClient);
        }
        state.core.close(now, reason);
        drop(state);
        self.wake.notify_one();
    }
}

fn as_entered(value: Value) -> Option<Entered> {
    if let Value::Entered(entered) = value { Some(entered) } else { None }
}

fn as_empty(value: Value) -> Option<()> {
    matches!(value, Value::Empty).then_some(())
}
