//! [`Clients`]: the connected users of a worker, and what is sent to them.

use std::time::Duration;

use bytes::Bytes;

use super::client::{Client, Seat};
use super::held::{Answer, AnswerTurns, ENTERED_BYTES, Entering};
use super::lagging::Lagging;
use crate::base::{ConnectionId, IdMap, LoginNumber, Slot, StreamId, Timestamp, UserId, WorkerId};
use crate::rudp::{Backlog, Endpoint, Moving, Payload, SendError};
use crate::server::budget::Budget;
use crate::server::limits::{Limits, size};
use crate::server::roster::LocalMember;
use crate::wire::frame::MESSAGE_OVERHEAD_BYTES;
use crate::wire::{CloseCode, Delivery, ErrorCode, UserEvent};

/// The users that are connected to a worker, by connection.
pub(super) struct Clients {
    /// The transport of all connections.
    pub(super) endpoint: Endpoint,
    /// Boxed: half of the table is empty after it grows.
    by_connection: IdMap<ConnectionId, Box<Client>>,
    lagging: Lagging,
    pub(super) answer_turns: AnswerTurns,
    /// Connections to close, because they take their messages too slowly.
    overdue: Vec<ConnectionId>,
    /// The budget that each user begins with.
    budget: Budget,
    max_queued_bytes: usize,
    sends: u64,
}

impl Clients {
    pub(super) fn new(endpoint: Endpoint, limits: &Limits) -> Self {
        Self {
            endpoint,
            by_connection: IdMap::default(),
            lagging: Lagging::new(size(limits.lagging_bytes), Duration::from_millis(limits.max_lagging_ms)),
            answer_turns: AnswerTurns::default(),
            overdue: Vec::new(),
            budget: Budget::new(limits),
            max_queued_bytes: size(limits.max_queued_bytes),
            sends: 0,
        }
    }

    /// Returns the number of messages to clients so far, including those that found no room.
    pub(super) fn sends(&self) -> u64 {
        self.sends
    }

    pub(super) fn len(&self) -> usize {
        self.by_connection.len()
    }

    pub(super) fn add(&mut self, connection: ConnectionId, user: UserId, login: LoginNumber) {
        let client = Client::new(user, login, self.budget.clone());
        self.by_connection.insert(connection, Box::new(client));
    }

    /// Forgets a user; its connection may stay open to send the reason.
    pub(super) fn remove(&mut self, connection: ConnectionId) -> Option<Box<Client>> {
        self.lagging.forget(connection);
        self.by_connection.remove(&connection)
    }

    /// Returns true for a user that is in no session, takes its messages in time, and whose connection is
    /// alive.
    pub(super) fn may_move(&self, connection: ConnectionId) -> bool {
        let client = self.get(connection);
        client.is_some_and(Client::is_free)
            && self.endpoint.address(connection).is_some()
            && !self.lagging.has(connection)
            && !self.overdue.contains(&connection)
    }

    /// Removes a user and its connection, which continue on worker `to`.
    pub(super) fn release(
        &mut self,
        connection: ConnectionId,
        to: WorkerId,
    ) -> Option<(Moving, Box<Client>)> {
        let moving = self.endpoint.release(connection, to)?;
        self.remove(connection).map(|client| (moving, client))
    }

    /// Takes in a user that another worker has released, and sends its client the connection id of this
    /// worker.
    // spec: EVT-14
    pub(super) fn adopt(&mut self, now: Timestamp, moving: Moving, client: Box<Client>) {
        let connection = moving.id();
        self.by_connection.insert(connection, client);
        if let Some(alias) = self.endpoint.adopt(now, moving) {
            self.tell(now, connection, &UserEvent::Rehomed { connection: alias });
        }
    }

    pub(super) fn get(&self, connection: ConnectionId) -> Option<&Client> {
        self.by_connection.get(&connection).map(Box::as_ref)
    }

    pub(super) fn get_mut(&mut self, connection: ConnectionId) -> Option<&mut Client> {
        self.by_connection.get_mut(&connection).map(Box::as_mut)
    }

    /// Returns all connections with a user, in order.
    pub(super) fn connections(&self) -> Vec<ConnectionId> {
        let mut all: Vec<_> = self.by_connection.keys().copied().collect();
        all.sort_unstable();
        all
    }

    /// Begins to close a connection, with a code and no reason text.
    pub(super) fn close(&mut self, now: Timestamp, connection: ConnectionId, code: CloseCode) {
        self.close_because(now, connection, code, "");
    }

    /// Like [`Self::close`], with a reason for people that states more than the code can.
    pub(super) fn close_because(
        &mut self,
        now: Timestamp,
        connection: ConnectionId,
        code: CloseCode,
        reason: &str,
    ) {
        if let Some(connection) = self.endpoint.connection(connection) {
            connection.close(now, code, reason);
        }
    }

    /// Seats a user in the session of a slot assigned to it. The result of the request that entered its
    /// session follows the snapshot.
    pub(super) fn take_seat(&mut self, connection: ConnectionId, seat: Seat, entering: Entering) {
        if let Some(client) = self.by_connection.get_mut(&connection) {
            client.take_seat(seat, entering);
        }
    }

    /// Begins the stream of a slot with its session's snapshot. Then sends the result of the request that
    /// entered the session, and the results held behind it.
    // spec: EVT-4, SES-14
    pub(super) fn open_seat(
        &mut self,
        now: Timestamp,
        connection: ConnectionId,
        slot: Slot,
        snapshot: Bytes,
    ) {
        if let Some(connection) = self.endpoint.connection(connection) {
            connection.open_stream(slot.into());
        }
        self.send_event(now, connection, slot, snapshot);
        let Some(client) = self.get_mut(connection) else { return };
        for result in client.settle_snapshot(slot) {
            self.send(now, connection, StreamId::CONTROL, Delivery::ReliableOrdered, result.into());
        }
    }

    /// Ends a slot: what was sent on its stream still arrives, but nothing follows.
    pub(super) fn leave_seat(&mut self, connection: ConnectionId, slot: Slot) {
        if let Some(client) = self.by_connection.get_mut(&connection) {
            client.leave_seat(slot);
        }
        if let Some(connection) = self.endpoint.connection(connection) {
            connection.finish_stream(slot.into());
        }
    }

    /// Sends a result on the control stream, after the results of earlier commands.
    // spec: SES-14
    pub(super) fn answer(&mut self, now: Timestamp, connection: ConnectionId, result: Bytes) {
        let result = match self.get_mut(connection) {
            Some(client) => client.hold_behind_snapshot(result),
            None => Some(result),
        };
        let Some(result) = result else { return self.check_held(connection) };
        self.send(now, connection, StreamId::CONTROL, Delivery::ReliableOrdered, result.into());
    }

    /// Sends an answer on a slot's stream once `mails` mails have been handled, including those present now.
    // spec: SES-19
    pub(super) fn answer_behind_mail(
        &mut self,
        now: Timestamp,
        mails: u64,
        (connection, slot): (ConnectionId, Slot),
        answer: Answer,
    ) {
        let Some(client) = self.by_connection.get_mut(&connection) else { return };
        if !client.has_behind_mail() && mails <= self.answer_turns.handled() {
            return self.send_event(now, connection, slot, answer.message);
        }
        client.hold_behind_mail(mails, slot, answer);
        self.answer_turns.push(mails, connection);
        self.check_held(connection);
    }

    /// Sends the answers that are due until `enough` has been sent. Returns true if more are due.
    pub(super) fn send_answers(&mut self, now: Timestamp, enough: u64) -> bool {
        while self.sends < enough
            && let Some(connection) = self.answer_turns.pop()
        {
            let handled = self.answer_turns.handled();
            let client = self.by_connection.get_mut(&connection);
            if let Some((slot, answer)) = client.and_then(|client| client.pop_behind_mail(handled)) {
                self.send_event(now, connection, slot, answer.message);
            }
        }
        self.answer_turns.is_due()
    }

    /// Sends the answers of a slot that are held behind mail before the end of its session is sent to the
    /// user. From the first command on that came too late, all are left unanswered: results keep the order of
    /// their requests.
    // spec: CMD-5, CMD-19, SES-14, EVT-6
    pub(super) fn answer_before_end(&mut self, now: Timestamp, connection: ConnectionId, slot: Slot) {
        let client = self.by_connection.get_mut(&connection);
        let answers = client.map_or_else(Vec::new, |client| client.take_behind_mail(slot));
        let in_time = |answer: &Answer| answer.refused != Some(ErrorCode::NotAMember);
        for answer in answers.into_iter().take_while(in_time) {
            self.send_event(now, connection, slot, answer.message);
        }
    }

    /// Answers that are held back count as queued.
    // spec: SES-17
    fn check_held(&mut self, connection: ConnectionId) {
        if self.waiting_bytes(connection) > self.max_queued_bytes {
            self.overdue.push(connection);
        }
    }

    /// Returns how long a snapshot may be so that the connection's queue still takes it, behind those of the
    /// sessions being entered. An eighth of the queue is left for the answers to other commands.
    // spec: SES-17
    pub(super) fn snapshot_room(&self, connection: ConnectionId) -> usize {
        let entering = self.get(connection).map_or(0, Client::entering_bytes);
        let waiting = self.waiting_bytes(connection) + entering + MESSAGE_OVERHEAD_BYTES + ENTERED_BYTES;
        (self.max_queued_bytes / 8 * 7).saturating_sub(waiting)
    }

    /// Returns the bytes of reliable messages that wait for a connection, including what is held back.
    fn waiting_bytes(&self, connection: ConnectionId) -> usize {
        let held = self.get(connection).map_or(0, Client::held_bytes);
        self.endpoint.queued_reliable_bytes(connection) + held
    }

    /// Sends a user an event that belongs to none of its sessions.
    pub(super) fn tell(&mut self, now: Timestamp, connection: ConnectionId, event: &UserEvent) {
        let event = event.encode();
        self.send(now, connection, StreamId::CONTROL, Delivery::ReliableOrdered, event.into());
    }

    /// Sends an encoded event or a result, in order on a slot's stream.
    pub(super) fn send_event(&mut self, now: Timestamp, connection: ConnectionId, slot: Slot, event: Bytes) {
        self.send(now, connection, slot.into(), Delivery::ReliableOrdered, event.into());
    }

    /// Queues a message. A connection that has no room for a reliable one, or whose queue has grown too long,
    /// is closed at the end of the round, so that nobody waits for it.
    pub(super) fn send(
        &mut self,
        now: Timestamp,
        to: ConnectionId,
        stream: StreamId,
        delivery: Delivery,
        payload: Payload,
    ) {
        self.sends += 1;
        let Backlog { reliable_bytes, added_bytes } =
            match self.endpoint.send(now, to, stream, delivery, payload) {
                Ok(backlog) if backlog.reliable_bytes <= self.max_queued_bytes => backlog,
                Ok(_) | Err(SendError::WouldBlock) => return self.overdue.push(to),
                // A client that cannot take a message of this size misses events.
                Err(SendError::TooLarge { .. }) if delivery.is_reliable() => return self.overdue.push(to),
                Err(SendError::TooLarge { .. } | SendError::UnknownStream(_) | SendError::Closed) => return,
            };
        // What is not reliable is shed, and holds nobody up.
        if self.lagging.note(now, to, reliable_bytes, added_bytes) {
            // Behind what waits, it would come when that has been taken, or never.
            // spec: EVT-13
            let event = UserEvent::Lagging.encode().into();
            // If there is no room even for this, the next message finds none either, and that failure counts.
            let _ = self.endpoint.send_first(now, to, StreamId::CONTROL, event);
        }
    }

    /// Prefetches the memory that [`Self::send`] to these members needs.
    pub(super) fn prefetch_to_send(&self, members: &[LocalMember]) {
        let streams = members.iter().map(|member| (member.connection, member.slot.into()));
        self.endpoint.prefetch_to_send(streams);
    }

    /// Returns when a connection may have lagged for too long.
    pub(super) fn lagging_due(&self) -> Option<Timestamp> {
        self.lagging.due()
    }

    /// Takes the connections to close for lagging.
    pub(super) fn take_overdue(&mut self, now: Timestamp) -> Vec<ConnectionId> {
        let endpoint = &self.endpoint;
        while let Some(connection) = self.lagging.overdue(now, |id| endpoint.queued_reliable_bytes(id)) {
            self.overdue.push(connection);
        }
        std::mem::take(&mut self.overdue)
    }
}
