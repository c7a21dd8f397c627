//! [`Client`]: the interface that an app calls.

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

/// A connection to a server. Clones share the connection; dropping the last one closes it, as
/// [`Client::close`] does.
///
/// Commands are sent when their future is first polled, and are executed even if it is then dropped. The
/// commands of one session are executed and answered in the order of sending; there is no order between
/// sessions, and the results of `create` and `join` wait until the snapshot of the session has also arrived.
/// When a result arrives, [`Client::session`] already reflects what the command did, or why it was refused
/// (except for `leave` and `delete`, which are answered just before they take effect there). The
/// corresponding events are on their way to the app, which may read them later. Spec: SES-19.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

/// Closes the connection when the last client is dropped.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close("");
    }
}

impl Client {
    /// Connects to the server at the first of the grant's addresses that answers. Each address is tried for
    /// [`ClientConfig::connect_timeout`], starting a second after the previous one or as soon as that has
    /// failed. Needs a tokio runtime with I/O and time enabled, on which the connection then
    /// [runs](super#the-runtime).
    ///
    /// Dropping the future abandons the attempt. The server may already have answered it, and keeps a place
    /// for it for eight seconds. A token has two such places and a user eight; until one is free again,
    /// further attempts are rejected with `user_limit`. So another attempt needs a new grant from the
    /// backend.
    ///
    /// # Errors
    /// [`ConnectError`]; with several addresses, the one that tells most: a refusal, any other answer,
    /// silence, an address that could not be tried. When this returns a client, the server has answered but
    /// does not know yet that its answer arrived: it may still close the connection at once, as `full` or
    /// because another attempt with the same grant has won (`replaced`).
    ///
    /// # Panics
    /// If called outside a tokio runtime.
    pub async fn connect(grant: &ConnectGrant, config: ClientConfig) -> Result<(Self, Events), ConnectError> {
        let sink = |client: &Self| queue(config.events_buffer, Arc::clone(&client.shared().wake));
        connect(grant, &config, sink).await
    }

    /// Connects like [`Client::connect`], but the task that reads the socket calls `handler` with each event.
    /// This is the shortest path, for handlers that never block. The handler may call the client passed to
    /// it, and may spawn tasks that await commands on a clone of it. A clone that it keeps holds the
    /// connection open, as every client does; once the last one is dropped, the handler is no longer called.
    /// A handler that panics ends the connection, as a crash does: the server is not told, and notices it by
    /// the idle timeout.
    ///
    /// # Errors
    /// As for [`Client::connect`].
    pub async fn connect_with_handler(
        grant: &ConnectGrant,
        config: ClientConfig,
        handler: impl FnMut(&Self, Event) + Send + 'static,
    ) -> Result<Self, ConnectError> {
        // Each attempted address gets its own access to the one handler; only the first that answers uses it.
        let handler = Arc::new(Mutex::new(handler));
        let sink = |client: &Self| {
            // A strong reference would keep the connection open.
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

    /// Creates the first client of a connection.
    pub(super) fn of(shared: Arc<Shared>) -> Self {
        Self { handle: Arc::new(Handle(shared)) }
    }

    /// Creates a session with the client as its owner and first member.
    ///
    /// # Errors
    /// [`RequestError`], as for every command here.
    pub async fn create(&self, session: CreateSession) -> Result<Entered, RequestError> {
        let request = Request::Create(session.build()?);
        self.ask(None, &request, as_entered).await
    }

    /// Accepts an invite. When this returns, the session's mirror is available.
    ///
    /// An invite admits only once: a user that was in the session through a lost connection needs another one
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

    /// Declines an invite of the client's own; the owner receives `reason`, at most 128 bytes.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn decline(&self, invite: InviteId, reason: &str) -> Result<(), RequestError> {
        let reason = Reason::new(reason)?;
        self.ask(None, &Request::Decline(Decline { invite, reason }), as_empty).await
    }

    /// Returns information about a session that the client is in.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn info(&self, session: SessionId) -> Result<Info, RequestError> {
        let info = |value| if let Value::Info(info) = value { Some(info) } else { None };
        self.ask(None, &Request::Info(session), info).await
    }

    /// Returns the sessions that the client is in.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn list_mine(&self) -> Result<Vec<Membership>, RequestError> {
        let list = |value| if let Value::Sessions(list) = value { Some(list) } else { None };
        self.ask(None, &Request::ListMine, list).await
    }

    /// Returns the client's open invites.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn list_invites(&self) -> Result<Vec<Invitation>, RequestError> {
        let list = |value| if let Value::Invites(list) = value { Some(list) } else { None };
        self.ask(None, &Request::ListInvites, list).await
    }

    /// Invites users, as the owner. Returns for each user the invite, or why there is none.
    ///
    /// # Errors
    /// [`RequestError`] if nobody was invited.
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

    /// Revokes an invite of the session, as the owner.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn revoke(&self, slot: Slot, invite: InviteId) -> Result<(), RequestError> {
        // On the wire an invite is only a number within the slot's session.
        if self.session(slot).is_some_and(|mirror| mirror.session() != invite.session) {
            return Err(ErrorCode::NoSuchInvite.into());
        }
        self.ask(Some(slot), &Request::Revoke(Revoke { number: invite.number }), as_empty).await
    }

    /// Leaves the session. Ordered messages sent before are passed on first. Those of other modes that have
    /// not arrived yet, and large ones of which a part is missing, are lost: [flush](Client::flush) first.
    /// Spec: STR-9.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn leave(&self, slot: Slot) -> Result<(), RequestError> {
        self.ask(Some(slot), &Request::Leave, as_empty).await
    }

    /// Removes a member, as the owner; all members receive `reason`, at most 128 bytes. The removed user's
    /// open invites to the session end. If the session is open to all, that user may join it again.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn kick(&self, slot: Slot, member: MemberId, reason: &str) -> Result<(), RequestError> {
        let reason = Reason::new(reason)?;
        self.ask(Some(slot), &Request::Kick(Kick { member, reason }), as_empty).await
    }

    /// Makes another member the owner, as the current owner.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn transfer(&self, slot: Slot, member: MemberId) -> Result<(), RequestError> {
        self.ask(Some(slot), &Request::Transfer(Transfer { member }), as_empty).await
    }

    /// Deletes the session, as the owner; all members receive `reason`, at most 128 bytes.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn delete(&self, slot: Slot, reason: &str) -> Result<(), RequestError> {
        let reason = Reason::new(reason)?;
        self.ask(Some(slot), &Request::Delete(Delete { reason }), as_empty).await
    }

    /// Changes 1 to 256 properties, all or none. Returns the revision of the properties that includes the
    /// changes. The result of an increment is in the [`Event::PropertiesChanged`] of that revision; the
    /// mirror may also include later changes.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn set_properties(&self, slot: Slot, ops: Vec<PropertyOp>) -> Result<Revision, RequestError> {
        let request = Request::SetProperties(PropertyOps::new(ops)?);
        let revision = |value| if let Value::Revision(revision) = value { Some(revision) } else { None };
        self.ask(Some(slot), &request, revision).await
    }

    /// Sends at most 65,536 bytes to the session's members, 1,024 if `delivery` is [`Delivery::Unreliable`]
    /// or [`Delivery::Sequenced`]. Returns at once: the message is on its way, and if the server refuses to
    /// pass it on, an [`Event::Refused`] follows. If the membership ends before the message has arrived, it
    /// is lost without one.
    ///
    /// A reliable payload's memory is shared until the server has acked it. Copy a small part of a large
    /// block, such as a part of a received message, before sending it; otherwise the whole block stays in
    /// memory. The payload may be dropped while the client is locked: if it runs code of the app then
    /// (`Bytes::from_owner`), that code must not call the client, nor take a lock that is held elsewhere
    /// during a call to it.
    ///
    /// The server enforces budgets: by default, a connection may send 2,000 messages and 1 MiB per second,
    /// with a quarter of the bytes at once, and a session twice the bytes. A message over budget is refused
    /// and leaves a gap, also among ordered messages. A client that sends more, such as a file, should spread
    /// its messages over time and heed `Refused`. The same applies to a client whose link was down for
    /// seconds: all that it sent meanwhile arrives at once ([`Client::queued_bytes`] returns how much is
    /// waiting). In a session that others flood, refused messages also count, so retry a large message after
    /// a while and not at once. A client that far exceeds the budgets is disconnected
    /// ([`CloseCode::ProtocolViolation`](super::CloseCode::ProtocolViolation)). Spec: LIM-2, LIM-3.
    ///
    /// # Errors
    /// [`SendError`], in which case nothing was sent.
    pub fn broadcast(
        &self,
        slot: Slot,
        to: To,
        delivery: Delivery,
        payload: impl Into<Bytes>,
    ) -> Result<Sent, SendError> {
        // Done before locking, because this may run the app's code.
        let payload = payload.into();
        let shared = self.shared();
        let now = shared.now();
        let sent = shared.lock().core.broadcast(now, slot, to, delivery, payload)?;
        shared.wake.notify_one();
        Ok(sent)
    }

    /// Sends to 1 to 1,024 of the session's members; otherwise like [`Client::broadcast`].
    ///
    /// Members who are gone by the time the server passes it on get nothing, and nobody is told. If none of
    /// them is left, or if there never was such a member, the message is refused (`no_such_member`). An
    /// unreliable or sequenced message must fit one packet together with its recipients, of 1 to 4 bytes each
    /// ([`SendError::TooLarge`]). Spec: CMD-21.
    ///
    /// # Errors
    /// [`SendError`], in which case nothing was sent.
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

    /// Returns the current mirror of a session; `None` if the client is not in it. The mirror may be ahead of
    /// the events that the app has read. An app that follows the events instead keeps the mirror of
    /// [`Event::Entered`] and [applies](Mirror::apply) them to it.
    pub fn session(&self, slot: Slot) -> Option<Arc<Mirror>> {
        self.shared().lock().core.mirror(slot).cloned()
    }

    /// Returns the current mirror of every session that the client is in, by slot.
    pub fn sessions(&self) -> Vec<Arc<Mirror>> {
        self.shared().lock().core.mirrors().cloned().collect()
    }

    /// Returns how the connection ended; `None` while it has not.
    pub fn disconnected(&self) -> Option<Disconnected> {
        self.shared().lock().end.clone()
    }

    /// Returns true until the connection has ended.
    pub fn is_connected(&self) -> bool {
        self.shared().lock().core.is_connected()
    }

    /// Returns the statistics of the connection, up to now or to its end; `None` if there never was one.
    pub fn stats(&self) -> Option<Stats> {
        self.shared().lock().core.stats()
    }

    /// Returns the bytes of reliable messages that are not acked and of others that are not sent, plus 64 for
    /// each message: how far the server is behind.
    /// A client that sends much should send while this is small ([`Client::drained_to`]), rather than until
    /// [`SendError::WouldBlock`]. It does not reflect the server's budgets ([`Client::broadcast`]): a message
    /// over budget is acked and refused.
    pub fn queued_bytes(&self) -> usize {
        self.shared().lock().core.queued_bytes()
    }

    /// Returns the smoothed round-trip time; `None` before the server has acked anything, and after the
    /// connection has ended.
    pub fn rtt(&self) -> Option<Duration> {
        self.shared().lock().core.rtt()
    }

    /// Waits until the server has acked all reliable messages and commands, and all others have been sent;
    /// call it before [`Client::leave`] and [`Client::close`], so that nothing is left behind. It also waits
    /// for messages sent in the meantime, so an app that continues to send may wait forever. The server has
    /// then received the messages but may not have passed them on yet: an [`Event::Refused`] may still
    /// follow. To learn the fate of the last messages, leave the session next: the refusals of what arrived
    /// before are events by the time [`Client::leave`] returns. Cancel safe.
    ///
    /// # Errors
    /// [`SendError::NotConnected`] if the connection ends first.
    pub async fn flush(&self) -> Result<(), SendError> {
        self.drained_to(0).await
    }

    /// Waits until at most `queued_bytes` [bytes are queued](Client::queued_bytes). Use it to continue after
    /// a [`SendError::WouldBlock`], or to avoid one when sending much. Cancel safe.
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
    /// [`SendError::NotConnected`] if the connection ends first.
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
            // Remove the entries whose callers no longer wait.
            state.drains.retain(|drain| !drain.tell.is_closed());
            state.drains.push(Drain { queued_bytes, tell });
        }
        // The driver may have stopped reading until the app takes its events.
        self.shared().wake.notify_one();
        drained.await.map_err(|_| SendError::NotConnected)
    }

    /// Closes the connection. The server receives `reason`, at most 128 bytes; the last messages sent may not
    /// have arrived, and may have been refused without an event, see [`Client::flush`].
    /// [`Event::Disconnected`] follows.
    ///
    /// Returns at once. A program that ends its runtime next should first await [`Client::closed`]; otherwise
    /// the server is not notified and waits for the idle timeout.
    pub fn close(&self, reason: &str) {
        self.shared().close(reason);
    }

    /// Waits until the connection has ended and its last datagram has been sent; returns why it ended. After
    /// [`Client::close`] this takes until the server answers, at most three seconds. Cancel safe.
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
